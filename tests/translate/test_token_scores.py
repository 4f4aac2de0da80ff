"""The log-probabilities of the tokens of translations sum to those of the translations, for every engine and search."""

import json
import math

import pytest

from nmtcli import LineHandling, Request, Translator
from nmtcli.checkpoint import find_model, read_info
from nmtcli.data.directory import open_data
from nmtcli.translate.shortlist import Shortlist
from tests.conftest import WORDS, nmt

LINES = ["one two three", "", "nine", "seven seven zero one two", "four"]
SEARCHES = [
    {},
    {"beam_size": 1},
    {"beam_size": 4, "beam_groups": 2, "no_repeat_ngram": 2, "length_penalty": 0.3},
    {"beam_size": 3, "min_length": 5, "max_length": 6, "coverage_penalty": 0.2},
    {"method": "sampling", "temperature": 1.5, "top_k": 20},
    {"method": "mbr", "mbr_samples": 4},
]


def check(translations, pieces=None):
    """The law; `pieces` joins the tokens to the text."""
    for translation in translations:
        for candidate in translation.candidates:
            assert math.fsum(value for _, value in candidate.tokens) == pytest.approx(candidate.log_prob, abs=1e-3)
            assert all(value <= 1e-4 for _, value in candidate.tokens)
            assert candidate.tokens[-1][0] == "</s>"
            if pieces is not None:
                assert pieces([piece for piece, _ in candidate.tokens]) == candidate.text


@pytest.mark.parametrize("search", SEARCHES, ids=str)
def test_token_scores_sum_to_the_log_probability(trained, search):
    translator = Translator.load(trained, "cpu", **search)
    translations = translator.translate(LINES, n_best=2, token_scores=True)
    assert [len(one.candidates) > 0 for one in translations] == [bool(line) for line in LINES]
    check(translations, lambda pieces: translator.tokenizers.target.decode_all([_ids(translator, pieces)])[0])
    plain = translator.translate(LINES, n_best=2)
    for one, other in zip(translations, plain, strict=True):
        assert [(c.text, c.score, c.log_prob) for c in one.candidates] == [
            (c.text, c.score, c.log_prob) for c in other.candidates
        ]
        assert all(c.tokens is None for c in other.candidates)


def _ids(translator, pieces):
    target = translator.tokenizers.target
    numbers = {piece: number for number, piece in enumerate(target.pieces(range(len(target))))}
    return [numbers[piece] for piece in pieces if piece != "</s>"]


def test_token_scores_of_other_engines(trained, onnx, ctranslate2):
    quantized = Translator.load(trained, "cpu", quantize="int8")
    ensemble = Translator.load([trained, onnx], "cpu", weights=[2, 1])
    for translator in (quantized, ensemble, Translator.load(onnx, "cpu"), Translator.load(ctranslate2, "cpu")):
        check(translator.translate(LINES, n_best=2, token_scores=True))
    limited = Translator.load(ctranslate2, "cpu", beam_size=3, max_length=3, min_length=2)
    check(limited.translate(LINES, n_best=3, token_scores=True))


def test_token_scores_with_a_vocabulary_shortlist(trained, data, tmp_path):
    directory, info = tmp_path / "listed", read_info(find_model(trained))
    assert nmt("export", trained, "-o", directory) == 0
    Shortlist.learn(open_data(data).train, info.source_size, info.target_size, likely=3, frequent=5).save(directory)
    check(Translator.load(directory, "cpu", shortlist=True).translate(LINES, n_best=2, token_scores=True))


def test_token_scores_with_constraints_and_split_lines(trained):
    translator = Translator.load(trained, "cpu", handling=LineHandling(max_source_tokens=6))
    lines = [" ".join(WORDS), Request("one two", required=["7 7"], banned=["1"]), Request("one", prefix="4")]
    translations = translator.translate(lines, token_scores=True)
    check(translations)
    assert translations[0].treatment == "split"
    ends = [piece for piece, _ in translations[0].candidates[0].tokens].count("</s>")
    assert ends > 1


def test_token_scores_in_json_lines(trained, tmp_path, capsys):
    (tmp_path / "in").write_text("".join(f"{line}\n" for line in LINES))
    command = ["translate", "-m", trained, "-i", tmp_path / "in", "--device", "cpu", "--token-scores"]
    assert nmt(*command, "--format", "jsonl", "--n-best", "2") == 0
    for line in capsys.readouterr().out.splitlines():
        for candidate in json.loads(line)["candidates"]:
            values = [value for _, value in candidate["tokens"]]
            assert values == [round(value, 4) for value in values]
            assert math.fsum(values) == pytest.approx(candidate["log_prob"], abs=1e-3)
    for form in ("text", "tsv", "moses"):
        assert nmt(*command, "--format", form) == 2
        assert f"--token-scores is not possible with --format {form}" in capsys.readouterr().err

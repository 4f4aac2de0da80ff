"""`nmt score -m`: the log-probability of given pairs, in any batch; alignments and their error rate."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.checkpoint import find_model, load_model
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.metrics.alignment import AlignmentQuality, GoldLinks, judge, read_gold
from nmtcli.metrics.texts import Text
from nmtcli.score.pairs import PairScorer, score_ids
from nmtcli.translate.forced import forced_by_steps
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.translate.translator import Translator
from tests.conftest import TINY, nmt, overrides, prepare_arguments

CPU = torch.device("cpu")
MODELS = [
    [],
    ["model.attention.type=none"],
    ["model.decoder.input_feeding=true", "model.attention.type=additive"],
    ["model.encoder.reverse_source=true"],
    ["model.encoder.type=transformer", "model.decoder.type=transformer", "model.embedding.size=16"],
    ["model.decoder.type=ssru"],
]


@pytest.mark.parametrize("changes", MODELS, ids=str)
def test_the_score_of_a_translation_equals_that_of_the_search(changes, tiny_model):
    model = tiny_model(*changes)
    random = np.random.default_rng(1)
    sources = [random.integers(4, 12, length).tolist() for length in (1, 5, 9)]
    length = torch.tensor([len(source) + 1 for source in sources])
    batch = torch.tensor([[*source, 2, *[0] * (9 - len(source))] for source in sources])
    found = beam_search(TorchRuntime(model, CPU), batch, length, [8, 8, 8], SearchOptions(4, 4))
    forced = TorchRuntime(model, CPU).forced
    for source, hypotheses in zip(sources, found, strict=True):
        targets = [list(hypothesis.tokens[:-1]) for hypothesis in hypotheses]
        scores = score_ids(forced, [source] * len(targets), targets)
        for hypothesis, (log_probs, _) in zip(hypotheses, scores, strict=True):
            assert math.fsum(log_probs) == pytest.approx(hypothesis.log_prob, abs=1e-4)


@pytest.fixture(scope="module")
def lines(corpus):
    sources = (corpus / "valid.words").read_text().splitlines()
    targets = (corpus / "valid.digits").read_text().splitlines()
    return [*sources, "", "one", "seven words of no sense"], [*targets, "1 2", "", "%& unheard of"]


def scorer(path, batch_tokens: int) -> PairScorer:
    directory = find_model(path)
    return PairScorer(TorchRuntime(load_model(directory), CPU).forced, Tokenizers.load(directory), batch_tokens)


@settings(max_examples=10, deadline=None)
@given(budget=st.integers(1, 400), seed=st.integers(0, 99))
def test_scores_do_not_depend_on_batch_or_order(trained, lines, budget, seed):
    sources, targets = lines
    expected = scorer(trained, 1000).score(sources, targets, links=True)
    order = np.random.default_rng(seed).permutation(len(sources))
    found = scorer(trained, budget).score([sources[row] for row in order], [targets[row] for row in order], links=True)
    for row, score in zip(order, found, strict=True):
        if expected[row] is None:
            assert score is None
            assert sources[row] == ""
        else:
            assert score.pieces == expected[row].pieces
            assert score.log_probs == pytest.approx(expected[row].log_probs, abs=1e-4)
            assert score.links == expected[row].links


def score(capsys, *arguments) -> list[str]:
    assert nmt("score", *arguments, "--device", "cpu") == 0
    return capsys.readouterr().out.removesuffix("\n").split("\n")


@pytest.fixture
def pairs(trained, lines, tmp_path):
    """Options that name the model and both sides."""
    for side, texts in zip(("source", "target"), lines, strict=True):
        (tmp_path / side).write_text("".join(f"{line}\n" for line in texts))
    return ["-m", trained, "--source", tmp_path / "source", "--target", tmp_path / "target"]


def test_one_score_line_for_each_pair_in_order(pairs, lines, capsys, monkeypatch):
    monkeypatch.setattr("nmtcli.data.files._CHUNK", 100)  # several blocks
    rows = [row.split("\t") for row in score(capsys, *pairs)]
    records = [json.loads(row) for row in score(capsys, *pairs, "--format", "jsonl", "--batch-tokens", "7")]
    assert [row[0] for row in rows] == [str(number + 1) for number in range(len(lines[0]))]
    assert [(record["source"], record["target"]) for record in records] == list(zip(*lines, strict=True))
    for row, record in zip(rows, records, strict=True):
        if record["source"] == "":
            assert row[1:] == ["", "", "", "0"]
            assert record["log_prob"] is None
        else:
            assert float(row[1]) == pytest.approx(record["log_prob"], abs=2e-4)
            assert float(row[2]) == pytest.approx(record["log_prob"] / int(row[4]), abs=2e-4)
            assert float(row[3]) == pytest.approx(math.exp(-record["per_token"]), rel=1e-3)
            assert len(record["tokens"]) == len(record["token_log_probs"]) == int(row[4])
            assert math.fsum(record["token_log_probs"]) == pytest.approx(record["log_prob"])


def test_pairs_that_cannot_be_scored_are_counted(trained, tmp_path, capsys):
    (tmp_path / "source").write_bytes(b"one\r\n\nna\xefve\nthree\n")
    (tmp_path / "target").write_bytes(b"1\n2\n3\n3\n")
    command = ["score", "-m", trained, "--source", tmp_path / "source", "--target", tmp_path / "target"]
    assert nmt(*command, "--device", "cpu") == 0
    out, err = capsys.readouterr()
    assert [row.split("\t")[4] == "0" for row in out.splitlines()] == [False, True, True, False]
    assert "2 pairs have no score" in err
    assert "the first one is pair 2" in err
    assert "perplexity" in err


def test_user_errors_have_a_message(pairs, data, trained, tmp_path, capsys):
    def words(code: int, *arguments) -> str:
        assert nmt("score", *arguments) == code
        return " ".join(capsys.readouterr().err.split())

    (tmp_path / "short").write_text("0-0\n")
    assert "give both sides" in words(2, "-m", trained)
    assert "has 43 lines, " in words(3, *pairs[:4], "--target", tmp_path / "short")
    assert "no such file" in words(3, *pairs[:4], "--target", tmp_path / "absent")
    assert "not a regular file" in words(3, *pairs[:4], "--target", "/dev/null")
    assert "use it when scoring translations" in words(2, *pairs, "-r", tmp_path / "short")
    assert "--format jsonl" in words(2, *pairs, "--json")
    assert "short has 1 lines, " in words(3, *pairs, "--gold-alignment", tmp_path / "short")
    assert "no such model" in words(3, "-m", tmp_path / "absent", *pairs[2:])
    plain = overrides(*TINY, "model.attention.type=none", "train.max_updates=1")
    assert nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", *plain) == 0
    assert "no attention" in words(2, "-m", tmp_path / "run", *pairs[2:], "--format", "pharaoh")


def test_stepwise_scores_equal_parallel_scores(tiny_model):
    """As an ONNX model is read."""
    model = tiny_model()

    class OnArrays:
        def start(self, source, length):
            return TorchRuntime(model, CPU).start(torch.as_tensor(source), torch.as_tensor(length))

        def step(self, tokens, memory, cache):
            step = TorchRuntime(model, CPU).step(torch.as_tensor(tokens), memory, cache)
            return type(step)(step.log_probs.numpy(), step.cache, step.attention.numpy())

    source, length = np.array([[5, 6, 7, 2], [8, 2, 0, 0]]), np.array([4, 2])
    target = np.array([[9, 4, 2], [5, 2, 0]])
    ours = TorchRuntime(model, CPU).forced(source, length, target, True)
    theirs = forced_by_steps(OnArrays(), source, length, target, True)
    for row, (read, written) in enumerate(((4, 3), (2, 2))):
        assert theirs[0][row, :written] == pytest.approx(ours[0][row, :written], abs=1e-4)
        assert theirs[1][row, :written, :read] == pytest.approx(ours[1][row, :written, :read], abs=1e-4)


# ---- alignment ----


LINKS = st.frozensets(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)


@given(st.lists(st.tuples(LINKS, LINKS, LINKS), min_size=1, max_size=4))
def test_the_alignment_error_rate_is_that_of_och_and_ney(pairs):
    total = sum((judge(found, GoldLinks(sure, sure | more)) for found, sure, more in pairs), AlignmentQuality())
    links, sures, possible = (
        {(number, link) for number, row in enumerate(rows) for link in row}
        for rows in ([one[0] for one in pairs], [one[1] for one in pairs], [one[1] | one[2] for one in pairs])
    )
    if links or sures:
        expected = 1 - (len(links & sures) + len(links & possible)) / (len(links) + len(sures))
        assert total.error_rate == pytest.approx(expected)
    assert 0 <= total.error_rate <= 1
    assert total.precision == (len(links & possible) / len(links) if links else 1)
    assert total.recall == (len(links & sures) / len(sures) if sures else 1)


def test_gold_alignments_have_sure_and_possible_links():
    (gold, empty) = read_gold(Text("gold", ["0-0 1?2 3p4", ""]))
    assert gold.sure == {(0, 0)}
    assert gold.possible == {(0, 0), (1, 2), (3, 4)}
    assert empty.possible == set()


def test_alignments_against_gold_from_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold").write_text("0-0 1-1 2?1\n0-0\n")
    (tmp_path / "good").write_text("0-0 1-1 2-1\n0-0\n")
    (tmp_path / "poor").write_text("0-1\n\n")
    assert nmt("score", "good", "poor", "--gold-alignment", "gold", "--json") == 0
    good, poor = json.loads(capsys.readouterr().out)["systems"]
    assert good == {"system": "good", "error_rate": 0, "precision": 1, "recall": 1, "links": 4, "sure_links": 3}
    assert (poor["error_rate"], poor["precision"], poor["recall"]) == (1, 0, 0)
    assert nmt("score", "good", "--gold-alignment", "gold") == 0
    assert "0.0000" in capsys.readouterr().out
    for text, words in (
        ("0-0\n0:1\n", "line 2: 0:1 is not a link"),
        ("0-0\n0?1\n", "0?1 is not"),
        ("0-0\n", "1 lines"),
    ):
        (tmp_path / "bad").write_text(text)
        assert nmt("score", "bad", "--gold-alignment", "gold") == 3
        assert words in capsys.readouterr().err
    assert nmt("score", "--gold-alignment", "-") == 2
    assert "only once" in capsys.readouterr().err


@pytest.fixture(scope="module")
def taught(corpus, tmp_path_factory):
    """A run that learnt where to look and much of what to write; gold alignments of the validation text beside it."""
    folder = tmp_path_factory.mktemp("taught")
    for split in ("train", "valid"):
        sizes = [len(line.split()) for line in (corpus / f"{split}.words").read_text().splitlines()]
        links = (" ".join(f"{word}-{size - 1 - word}" for word in range(size)) for size in sizes)
        (folder / split).write_text("".join(f"{line}\n" for line in links))
    arguments = [*prepare_arguments(corpus, folder / "data"), "--train-alignment", folder / "train"]
    assert nmt(*arguments) == 0
    learning = ["model.embedding.scale=true", "model.dropout=0", "train.learning_rate=0.02", "train.max_updates=200"]
    settings = [*TINY, *learning, "train.guided_alignment=1", "train.valid_every=200", "train.save_every=200"]
    assert nmt("train", folder / "data", "-o", folder / "run", "--device", "cpu", *overrides(*settings)) == 0
    return folder


def test_guided_alignment_lowers_the_alignment_error_rate(taught, corpus, tmp_path, capsys):
    pairs = ["-m", taught / "run", "--source", corpus / "valid.words", "--target", corpus / "valid.digits"]
    (direct,) = json.loads("\n".join(score(capsys, *pairs, "--gold-alignment", taught / "valid", "--json")))["systems"]
    assert direct["error_rate"] < 0.15
    (tmp_path / "links").write_text("\n".join(score(capsys, *pairs, "--format", "pharaoh")) + "\n")
    assert nmt("score", tmp_path / "links", "--gold-alignment", taught / "valid", "--json") == 0
    assert json.loads(capsys.readouterr().out)["systems"][0]["error_rate"] == direct["error_rate"]


def test_alignments_equal_those_of_translate(taught, corpus):
    directory, same = find_model(taught / "run"), []
    lines = ["", "two \u200b one", *(corpus / "valid.words").read_text().splitlines()]
    for translation in Translator.load(directory, "cpu").translate(lines, alignment=True):
        for candidate in translation.candidates:
            (found,) = scorer(directory, 500).score([translation.source], [candidate.text], links=True)
            same.append(found.links == candidate.alignment)  # unless the text is cut into other tokens
    assert sum(same) > 0.9 * len(same)


def test_pair_scores_equal_those_of_translate(taught, corpus):
    directory = find_model(taught / "run")
    tokenizer = Tokenizers.load(directory).target
    lines = (corpus / "valid.words").read_text().splitlines()
    compared = 0
    for translation in Translator.load(directory, "cpu").translate(lines, n_best=2, attention=True):
        for candidate in translation.candidates:
            [ids] = tokenizer.encode([candidate.text])
            if tokenizer.pieces(ids) == candidate.attention.target[:-1]:  # else it is cut into others than were written
                (found,) = scorer(directory, 500).score([translation.source], [candidate.text])
                assert found.log_prob == pytest.approx(candidate.log_prob, abs=1e-3)
                compared += 1
    assert compared > len(lines)


def test_closed_output_pipe_is_no_error(pairs):
    command = [sys.executable, "-m", "nmtcli", "score", *map(str, pairs), "--device", "cpu"]
    line = " ".join(command) + " | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("1\t")
    assert done.returncode == 0

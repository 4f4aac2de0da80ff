"""`nmt score` against sacreBLEU's own command, and warnings about texts that spoil a score."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from sacrebleu.metrics import CHRF

from nmtcli.cli import run
from nmtcli.errors import UserError
from nmtcli.metrics.scores import Variant, _score, score_corpus, split_pair
from nmtcli.metrics.texts import Text, read_text, warnings

REFERENCE = [
    "The kettle whistles before the guests arrive.",
    "Our neighbour's goat ate the tulips again.",
    "Nobody had told the pilot about the fog.",
    '"Two tickets, please," she said, and smiled.',
    "The bridge was closed for repairs until May.",
    "Why does the clock in the hall stop at noon?",
]
HYPOTHESIS = [
    "The kettle is whistling before the guests arrive.",
    "The goat of our neighbour ate the tulips again.",
    "Nobody told the pilot about the fog.",
    '"Two tickets, please," she said and laughed.',
    "The Bridge stayed closed for repairs until May.",
    "Why does the hall clock stop at noon?",
]


@pytest.fixture
def files(write_texts):
    """Write texts by name into the working directory, where hyp and ref are."""
    write_texts(hyp=HYPOTHESIS, ref=REFERENCE)
    return write_texts


def scored(capsys, *arguments: str) -> dict:
    assert run(["score", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def sacrebleu(*arguments: str) -> list[dict]:
    """What the `sacrebleu` command prints, as {name, score, signature, …} for each metric."""
    command = [sys.executable, "-m", "sacrebleu", *arguments, "--format", "json", "--width", "12"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_scores_intervals_and_signatures_are_those_of_the_sacrebleu_command(files, capsys):
    files(second=[line.replace("the", "a") for line in REFERENCE])
    theirs = sacrebleu("ref", "second", "-i", "hyp", "-m", "bleu", "chrf", "ter", "--confidence")
    (system,) = scored(capsys, "hyp", "-r", "ref", "-r", "second")["systems"]
    assert [score["name"] for score in system["scores"]] == ["BLEU", "chrF2", "TER"]
    for ours, other in zip(system["scores"], theirs, strict=True):
        assert round(ours["value"], 12) == other["score"]
        assert ours["signature"] == other["signature"]
        assert (ours["high"] + ours["low"]) / 2 == pytest.approx(other["confidence_mean"], abs=1e-5)
        assert (ours["high"] - ours["low"]) / 2 == pytest.approx(other["confidence_var"], abs=1e-5)
        assert ours["detail"] == other.get("verbose_score", "")


def test_table_shows_a_row_for_each_system_and_a_whole_signature_for_each_metric(files, capsys):
    files(copy=REFERENCE)
    assert run(["score", "hyp", "copy", "-r", "ref"]) == 0
    out, err = capsys.readouterr()
    header, first, second, _, *signatures = out.splitlines()
    assert header.split() == ["system", "BLEU", "↑", "95", "%", "chrF2", "↑", "95", "%", "TER", "↓", "95", "%"]
    value = score_corpus(HYPOTHESIS, [REFERENCE])[0].value
    assert first.split()[:2] == ["hyp", f"{value:.1f}"]
    assert second.split() == ["copy", "100.0", "100.0–100.0", "100.0", "100.0–100.0", "0.0", "0.0–0.0"]
    assert [line.split("|")[0] for line in signatures] == ["BLEU", "chrF2", "TER"]
    assert all("version:" in line for line in signatures)  # not wrapped
    assert err == ""


def test_brevity_penalty_is_shown_for_one_system(files, capsys):
    assert run(["score", "hyp", "-r", "ref", "--metric", "BLEU"]) == 0
    out = capsys.readouterr().out
    assert "BP = 0.983" in out
    assert "chrF" not in out


def test_long_system_names_are_wrapped(files, capsys):
    name = "_".join(["averaged"] * 8)
    files(**{name: HYPOTHESIS})
    assert run(["score", name, "-r", "ref"]) == 0
    lines = capsys.readouterr().out.split("\n\n")[0].splitlines()[1:]
    assert "".join(line.split()[0] for line in lines) == name


@pytest.mark.parametrize("arguments", [["-"], []])
def test_hypothesis_from_standard_input(files, capsys, monkeypatch, arguments):
    data = "".join(f"{line}\n" for line in HYPOTHESIS).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    document = scored(capsys, *arguments, "-r", "ref", "--metric", "bleu")
    assert document["systems"][0]["system"] == "standard input"
    assert document["systems"][0]["scores"][0]["value"] == score_corpus(HYPOTHESIS, [REFERENCE])[0].value


def test_standard_input_is_refused_for_both_sides(files, capsys):
    assert run(["score", "-r", "-"]) == 2
    assert "only once" in capsys.readouterr().err


def test_lowercase_reaches_bleu_and_chrf(files, capsys):
    plain, lower = (scored(capsys, "hyp", "-r", "ref", *option)["systems"][0] for option in ([], ["--lowercase"]))
    for metric in (0, 1):
        assert lower["scores"][metric]["value"] > plain["scores"][metric]["value"]
        assert "case:lc" in lower["scores"][metric]["signature"]


def test_tokenize_reaches_bleu(files, capsys):
    (bleu,) = scored(capsys, "hyp", "-r", "ref", "--tokenize", "char", "--metric", "bleu")["systems"][0]["scores"]
    assert "tok:char" in bleu["signature"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metric", "bleu,meteor"], ["unknown metric 'meteor'", "bleu, chrf, ter"]),
        (["--tokenize", "14a"], ["unknown BLEU tokenizer '14a'", "ja-mecab"]),
    ],
)
def test_unknown_metrics_and_tokenizers_list_the_known_ones(files, capsys, options, words):
    assert run(["score", "hyp", "-r", "ref", *options]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words)


@pytest.mark.parametrize(("name", "module"), [("ko-mecab", "mecab_ko"), ("ja-mecab", "MeCab")])
def test_a_missing_tokenizer_package_is_named(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, f"sacrebleu.tokenizers.tokenizer_{name.replace('-', '_')}", raising=False)
    with pytest.raises(UserError, match=name) as caught:
        score_corpus(HYPOTHESIS, [REFERENCE], ["bleu"], variant=Variant(tokenize=name))
    assert f"sacrebleu[{name[:2]}]" in str(caught.value.hint)


def test_a_tokenizer_that_cannot_be_downloaded_is_a_user_error(monkeypatch):
    def no_network(**_: object) -> None:
        raise OSError("Name or service not known")

    no_network.TOKENIZERS = {"flores200"}
    monkeypatch.setattr("nmtcli.metrics.scores.BLEU", no_network)
    with pytest.raises(UserError, match="could not download"):
        score_corpus(HYPOTHESIS, [REFERENCE], ["bleu"], variant=Variant(tokenize="flores200"))


def test_files_of_different_length_are_named_with_their_lengths(files, capsys):
    files(short=HYPOTHESIS[:-1])
    assert run(["score", "hyp", "short", "-r", "ref"]) == 3
    assert "short has 5 lines, ref 6" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "bad: no such file"), (b"", "has 0 lines"), (b"one\nna\xefve\n", "bad:2: not UTF-8")],
)
def test_unreadable_files_are_data_errors(files, capsys, content, words):
    if content is not None:
        Path("bad").write_bytes(content)
    assert run(["score", "bad", "-r", "ref"]) == 3
    assert words in capsys.readouterr().err


def test_two_empty_files_are_a_data_error(files, capsys):
    files(nothing=[])
    assert run(["score", "nothing", "-r", "nothing"]) == 3
    assert "empty" in capsys.readouterr().err


def test_lines_end_at_line_feeds_only(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("one\u2028still one\x0c\x85\rone \r\n\ntwo\u00a0".encode())
    assert read_text(path).lines == ["one\u2028still one\x0c\x85\rone", "", "two"]


def test_an_empty_line_is_a_poor_translation_not_an_error(files, capsys):
    files(holes=["", *HYPOTHESIS[1:]])
    document = scored(capsys, "holes", "-r", "ref")
    assert document["systems"][0]["empty_lines"] == 1
    assert "1 of 6 lines are empty" in document["warnings"][0]
    files(silent=[""] * 6)
    scores = scored(capsys, "silent", "-r", "ref")["systems"][0]["scores"]
    assert [(score["value"], score["low"], score["high"]) for score in scores] == [
        (0, 0, 0),
        (0, 0, 0),
        (100, 100, 100),
    ]


def test_a_long_test_set_is_scored_without_interval(files, capsys, monkeypatch):
    monkeypatch.setattr(sys.modules["nmtcli.score.scoring"], "_MOST_LINES_RESAMPLED", 5)
    assert run(["score", "hyp", "-r", "ref"]) == 0
    out, err = capsys.readouterr()
    assert "95 %" not in out
    assert "no 95 % confidence interval" in err


def test_warnings_go_to_standard_error_and_into_the_json(files, capsys):
    files(pieces=["▁" + line.replace(" ", " ▁") for line in HYPOTHESIS])
    assert run(["score", "pieces", "-r", "ref", "--json"]) == 0
    out, err = capsys.readouterr()
    (warning,) = json.loads(out)["warnings"]
    assert err.strip() == f"warning: {warning}"
    assert "6 of 6 lines, the first in line 1 (“▁The ▁kettle…”)" in warning


def looked_at(lines: list[str], reference: list[str] | None = None, tokenize: str | None = None) -> str:
    references = [Text("ref", reference or REFERENCE)]
    return "\n".join(warnings([Text("hyp", lines)], references, ["bleu"], tokenize))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("The ket@@ tle whistles", "BPE marks (@@)"),
        ("The guests arrive .", "looks tokenised"),
        ("Yes , they do", "looks tokenised"),
        ("the goat 's horn", "looks tokenised"),
        ("the goat &apos;s horn", "looks tokenised"),
        ("客人 来 了 。", "looks tokenised"),
    ],
)
def test_tokenized_or_lowercased_text_gives_warnings(line, words):
    assert words in looked_at([line, *HYPOTHESIS])


@pytest.mark.parametrize(
    "line",
    [
        "Pourquoi l'horloge s'arrête-t-elle ? « Voilà ! »",
        "Write to ann@@example.org or wait ... until .5 seconds pass.",
        "The '80s came back.",
    ],
)
def test_plain_text_gives_no_warning(line):
    assert looked_at([line] * 6) == ""


def test_rare_signs_of_tokenization_give_no_warning():
    assert looked_at(["A stray comma , once.", *HYPOTHESIS * 20]) == ""


def test_tokenized_text_gives_no_warning_with_the_tokenizer_none():
    assert looked_at(["The guests arrive ."] * 6, tokenize="none") == ""


@pytest.mark.parametrize(
    ("reference", "advice"),
    [
        ("猫が屋根の上で寝ています。", "ja-mecab"),
        ("客人来之前，水壶就响了。", "--tokenize zh"),
        ("손님이 오기 전에 주전자가 울린다.", "ko-mecab"),
        ("กาน้ำร้องก่อนแขกมาถึง", "flores200"),
    ],
)
def test_scripts_that_13a_does_not_split_get_a_hint(reference, advice):
    assert advice in looked_at(HYPOTHESIS, [reference] * 6)
    assert advice in looked_at(HYPOTHESIS, [reference] * 6, tokenize="intl")
    assert looked_at(HYPOTHESIS, [reference] * 6, tokenize="char") == ""


def test_scoring_without_bootstrap_has_no_interval_and_checks_its_arguments():
    scores = score_corpus(HYPOTHESIS, [REFERENCE])
    assert [(score.name, score.low, score.high) for score in scores] == [("BLEU", None, None), ("chrF2", None, None)]
    with pytest.raises(ValueError, match="6 hypotheses"):
        score_corpus(HYPOTHESIS, [REFERENCE[1:]])
    with pytest.raises(ValueError, match="nothing"):
        score_corpus([], [[]])


@pytest.mark.parametrize(
    ("pair", "languages", "tokenizer"),
    [
        ("en-zh", ("en", "zh"), "zh"),
        ("en-zh_CN", ("en", "zh_CN"), "zh"),
        ("EN-ZH", ("EN", "ZH"), "zh"),
        ("en-ZH", ("en", "ZH"), "zh"),
        ("en-zh-Hans", ("en", "zh-Hans"), "zh"),
        ("pt-BR-en-US", ("pt-BR", "en-US"), "13a"),
        ("zh_TW-ja_JP", ("zh_TW", "ja_JP"), "ja-mecab"),
        ("de-ko-KR", ("de", "ko-KR"), "ko-mecab"),
        ("eng-jpn", ("eng", "jpn"), "ja-mecab"),
        ("eng-zho_Hans", ("eng", "zho_Hans"), "zh"),
        ("eng-cmn", ("eng", "cmn"), "zh"),
        ("german", None, ""),
        ("en-de-fr", None, ""),
        ("-", None, ""),
        ("en-", None, ""),
    ],
)
def test_language_pairs_in_any_spelling(pair, languages, tokenizer):
    assert split_pair(pair) == languages
    if languages:
        assert Variant(target_language=languages[1]).tokenizer == tokenizer


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [("zho_Hans", "zh"), ("jpn", "char"), ("tha_Thai", "char"), ("yue", "char"), ("ja-JP", "char"), ("deu", "13a")],
)
def test_validation_of_languages_without_blanks_counts_characters(language, tokenizer):
    """By either code of a language."""
    assert Variant.in_training(language, lowercase=False).tokenizer == tokenizer


def test_a_negative_score_has_its_interval():
    class Lower(CHRF):
        def _compute_score_from_stats(self, stats):
            score = super()._compute_score_from_stats(stats)
            score.score = float(score.score) - 200
            return score

    (score,) = [_score(Lower(references=[["a b c d", "e f g h", "i j"]]), ["a b c", "e f", "x"], 100)]
    assert score.value < 0 and score.low < score.value < score.high < 0


def test_details_use_the_metrics_that_are_scored(files, capsys, monkeypatch):
    """BLEU for Japanese needs a package, chrF does not."""

    def missing(self, *arguments, **more):
        raise UserError("no package")

    monkeypatch.setattr(Variant, "bleu", missing)
    assert run(["score", "hyp", "-r", "ref", "--metric", "chrf", "--details"]) == 0
    assert "BLEU" not in capsys.readouterr().out


def test_a_device_without_a_model_is_refused(files, capsys):
    assert run(["score", "hyp", "-r", "ref", "--device", "cpu"]) == 2
    assert "--device cpu is of no use" in capsys.readouterr().err

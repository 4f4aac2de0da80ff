"""`nmt score --perturb`: a model's scores on changed source text, each compared as the original is."""

import json

import pytest

from nmtcli import Translator
from nmtcli.metrics.scores import Variant, score_corpus
from nmtcli.score.options import ScoreOptions
from nmtcli.score.robustness import ORIGINAL, robustness
from nmtcli.score.scoring import score
from nmtcli.text.noise import upper, without_punctuation
from tests.conftest import nmt

SOURCE = ["Zero one two.", "", "nine, five and seven", "one two three four", "Six six __X__ <b>?"]
REFERENCE = ["2 1 0.", "", "7 5, 9", "4 3 2 1", "6 6!"]


@pytest.fixture(scope="module")
def translator(trained):
    return Translator.load(trained, "cpu", beam_size=1)


def measure(translator, source=SOURCE, references=(REFERENCE,), metrics=("bleu", "chrf", "ter"), variant=None):
    return robustness(translator, "run", source, references, metrics, variant or Variant(), lambda *_: None)


def test_each_text_is_compared_as_the_original(translator):
    result = measure(translator)
    groups = {}
    for one in result.texts:
        groups.setdefault(one.compared, []).append(one)
    assert {kind: [one.text for one in group] for kind, group in groups.items()} == {
        "as it is": [ORIGINAL, "typing errors"],
        "without case": [ORIGINAL, "upper case", "title case", "lower-case start"],
        "without punctuation": [ORIGINAL, "no punctuation"],
    }
    for original, *others in groups.values():
        assert not original.differences
        assert original.changed == 0
        for one in others:
            assert list(one.differences) == ["BLEU", "chrF2", "TER"]
            for before, after in zip(original.scores, one.scores, strict=True):
                assert one.differences[after.name] == after.value - before.value
                assert before.signature == after.signature


def test_the_scores_are_those_of_the_translations(translator):
    texts = {(one.text, one.compared): one for one in measure(translator, metrics=("bleu", "chrf")).texts}

    def scores(source, change=lambda line: line, **variant):
        translated = [change(one.text) for one in translator.translate(source)]
        return score_corpus(translated, [list(map(change, REFERENCE))], ("bleu", "chrf"), variant=Variant(**variant))

    assert texts[ORIGINAL, "as it is"].scores == scores(SOURCE)
    assert texts[ORIGINAL, "without case"].scores == scores(SOURCE, lowercase=True)
    assert texts["upper case", "without case"].scores == scores([*map(upper, SOURCE)], lowercase=True)
    bare = [*map(without_punctuation, SOURCE)]
    assert texts["no punctuation", "without punctuation"].scores == scores(bare, without_punctuation)
    assert texts["no punctuation", "without punctuation"].changed == 3


def test_text_that_no_change_applies_to_loses_nothing(translator):
    digits = ["1 2 3", "4 55", "__X__ <b>"]
    for one in measure(translator, digits, (["3 2 1", "55 4", "1"],)).texts:
        assert one.changed == 0
        assert not any(one.differences.values())


def test_typing_errors_of_a_line_do_not_depend_on_other_lines(translator):
    def changed(source):
        return next(one for one in measure(translator, source, (REFERENCE[: len(source)],)).texts if one.changed)

    assert changed(SOURCE) == changed(SOURCE)
    assert changed(SOURCE[:1]).changed == 1


def write(folder):
    (folder / "source").write_text("".join(f"{line}\n" for line in SOURCE))
    (folder / "reference").write_text("".join(f"{line}\n" for line in REFERENCE))
    return ["--source", folder / "source", "-r", folder / "reference"]


def test_perturb_prints_a_table_and_json(trained, tmp_path, capsys):
    command = ["score", "-m", trained, "--perturb", "--device", "cpu", *write(tmp_path), "--metric", "chrf,ter"]
    assert nmt(*command, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["lines"] == len(SOURCE)
    assert len(document["texts"]) == 8
    for one in document["texts"]:
        assert [score["name"] for score in one["scores"]] == ["chrF2", "TER"]
        assert set(one["differences"]) == (set() if one["text"] == ORIGINAL else {"chrF2", "TER"})
    assert nmt(*command) == 0
    table = capsys.readouterr().out
    rows = [line for line in table.splitlines() if line.startswith("  ")]
    assert len(rows) == len(document["texts"])
    for one, row in zip(document["texts"], rows, strict=True):
        assert row.strip().startswith(one["text"])
        assert f"{one['scores'][0]['value']:.1f}" in row
        assert all(f"{difference:+.1f}" in row for difference in one["differences"].values())
        assert f"{one['compared']}:" in table
    assert "chrF2|" in table


def test_the_options_of_scoring_reach_perturb(trained, tmp_path):
    _, source, _, reference = write(tmp_path)
    given = {"model": trained, "source": source, "reference": (reference,), "perturb": True, "device": "cpu"}
    plain, lowered = (score(ScoreOptions(**given, lowercase=case, metric="chrf")) for case in (False, True))
    assert plain.texts[2].scores == lowered.texts[0].scores
    split = score(ScoreOptions(**given, tokenize="char", metric="bleu", batch_tokens=7))
    assert "tok:char" in split.texts[0].scores[0].signature
    korean = score(ScoreOptions(**given, language_pair="en-zh", metric="bleu"))
    assert "tok:zh" in korean.texts[0].scores[0].signature


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"model": None}, "--perturb needs a model"),
        ({"source": None}, "--perturb needs the source text"),
        ({"reference": ()}, "nmt score needs a reference"),
        ({"metric": "bleu,comet"}, "COMET cannot ignore case"),
        ({"metric": "blue"}, "unknown metric 'blue'"),
        ({"target": "t"}, "--target cannot be used when scoring robustness"),
        ({"hypothesis": "h"}, "HYPOTHESIS cannot be used when scoring robustness"),
        ({"details": True}, "--details cannot be used when scoring robustness"),
        ({"format": "jsonl"}, "--format cannot be used when scoring robustness"),
        ({"source": "-", "reference": "-"}, "standard input can be read only once"),
    ],
    ids=str,
)
def test_options_that_do_not_go_with_perturb(changed, words, trained, tmp_path, capsys):
    write(tmp_path)
    given = {"model": trained, "source": tmp_path / "source", "reference": tmp_path / "reference"} | changed
    hypothesis = given.pop("hypothesis", None)
    arguments = [hypothesis] if hypothesis else []
    for name, value in given.items():
        arguments += [f"--{name}"] if value is True else [f"--{name}", value] if value else []
    assert nmt("score", "--perturb", *arguments) == 2
    assert words in capsys.readouterr().err


def test_files_of_different_length_are_refused(trained, tmp_path, capsys):
    arguments = write(tmp_path)
    (tmp_path / "source").write_text("one\n")
    assert nmt("score", "-m", trained, "--perturb", *arguments) == 3
    assert "source has 1 lines" in capsys.readouterr().err

"""Constraints, search options and ensembles of `nmt translate`, from the command line to the files."""

import json
import os
import random
import re
import shutil
from dataclasses import replace

import pytest

from nmtcli import LineHandling, Request, Translator, UserError
from nmtcli.checkpoint import find_model
from nmtcli.translate import lines as line_windows
from nmtcli.translate.job import Job, translate_windows
from nmtcli.translate.lines import LineReader, parse_json
from tests.conftest import TINY, WORDS, nmt, overrides, prepare_arguments

SAMPLING = ["--method", "sampling", "--temperature", "1.3", "--top-k", "50", "--top-p", "0.99", "--seed", "7"]


@pytest.fixture
def write(tmp_path):
    """Writes lines into a file."""

    def write(name, lines):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path

    return write


@pytest.fixture
def run(trained, tmp_path):
    """Translates a file; the lines that are written."""

    def run(source, *options, code=0, models=(trained,)):
        several = [part for model in models for part in ("-m", model)]
        command = ["translate", *several, "-i", source, "-o", tmp_path / "out", "--device", "cpu", *options]
        assert nmt(*command) == code
        return (tmp_path / "out").read_bytes().decode().split("\n")[:-1]

    return run


def numbers(count, seed=0):
    choose = random.Random(seed)
    return [" ".join(choose.choices(WORDS, k=choose.randint(2, 9))) for _ in range(count)]


# ---- search ----


def test_search_settings_reach_the_search(run, write, trained):
    text = write("in", numbers(20))
    rows = run(text, "--max-length", "3", "--min-length", "3", "--format", "tsv", "--n-best", "2")
    assert all(len(row.split("\t")[3].split()) <= 2 for row in rows)
    options = ["--beam-groups", "3", "--set", "search.beam_diversity=2.5", "--length-penalty", "0.3"]
    options += ["--length-normalization", "average", "--no-repeat-ngram", "2", "--coverage-penalty", "0.2"]
    settings = {
        "beam_groups": 3,
        "beam_diversity": 2.5,
        "length_penalty": 0.3,
        "length_normalization": "average",
        "no_repeat_ngram": 2,
        "coverage_penalty": 0.2,
    }
    expected = Translator.load(trained, "cpu", beam_size=6, **settings).translate(numbers(20))
    assert run(text, "-b", "6", *options) == [one.text for one in expected]
    # an option stands above --set
    assert run(text, "-b", "6", *options, "--set", "search.beam_size=3") == [one.text for one in expected]


def test_invalid_search_options_are_refused_before_translation(trained, capsys):
    def words(*arguments):
        assert nmt("translate", "-m", trained, "-i", os.devnull, *arguments) == 2
        return capsys.readouterr().err

    assert "--set search.mbr_samples: mbr_samples" in words("--set", "search.mbr_samples=1")
    assert "did you mean search.beam_size" in words("--set", "search.beam_sise=1")
    assert "--set train.seed: not a setting of search" in words("--set", "train.seed=1")
    assert "not a setting of search" in words("--set", "search=1")
    assert "--temperature: " in words("--temperature", "0.5")
    assert "temperature needs method sampling or mbr" in words("--temperature", "0.5")
    assert "--top-p" in words("--method", "mbr", "--top-p", "1.5")
    assert "not a multiple" in words("--beam-groups", "4")
    assert "needs beam search" in words("--protect", "copy", "--method", "mbr")


def test_samples_depend_on_the_line_only(run, write, trained, tmp_path, monkeypatch):
    """Neither on the window, nor on the number of processes, nor on an interruption."""
    same = ["one two three"] * 30
    text = write("in", same)
    whole = run(text, *SAMPLING)
    assert len(set(whole)) > 10
    assert run(text, *SAMPLING) == whole
    assert run(text, *SAMPLING[:-1], "8") != whole
    assert run(text, *SAMPLING, "--processes", "2") == whole
    monkeypatch.setattr(line_windows, "MAX_LINES", 7)
    assert run(text, *SAMPLING) == whole
    job = Job((next((trained / "checkpoints").iterdir()),), "cpu", {"method": "sampling", "seed": 3})
    windows = LineReader(text.open("rb")).windows()
    written = [window.written["translations"] for window in translate_windows(job, windows)]
    assert len(set(written)) == len(written)  # windows of the same lines
    reader, (first, *_) = LineReader(text.open("rb")), LineReader(text.open("rb")).windows()
    reader.skip(first.end, 7)
    assert [window.written["translations"] for window in translate_windows(job, reader.windows())] == written[1:]


def test_parts_of_a_long_line_are_sampled_separately(trained):
    long = "one two three. " * 6
    handling = LineHandling(max_source_tokens=12)
    drawing = Translator.load(trained, "cpu", method="sampling", seed=2, handling=handling, min_length=4)
    (found,) = drawing.translate([long], numbers=[5])
    assert found.treatment == "split"
    assert found == drawing.translate(["four", long], numbers=[1, 5])[1]
    assert found.text != drawing.translate([long], numbers=[6])[0].text


def test_minimum_bayes_risk_by_command_line(run, write):
    rows = run(write("in", numbers(5)), "--method", "mbr", "--set", "search.mbr_samples=4", "--format", "tsv")
    assert all(0 <= float(row.split("\t")[1]) <= 100 for row in rows)
    assert len(rows) == 5


def test_coverage_penalty_without_attention_is_refused_at_loading(data, tmp_path, capsys):
    settings = [*TINY, "train.max_updates=1", "train.save_every=1", "train.valid_every=1"]
    settings += ["model.attention.type=none"]
    assert nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", *overrides(*settings)) == 0
    assert nmt("train", data, "-o", tmp_path / "x", *overrides(*settings, "search.coverage_penalty=0.1")) == 2
    assert "--set search.coverage_penalty: " in capsys.readouterr().err
    with pytest.raises(UserError, match="coverage_penalty needs attention"):
        Translator.load(tmp_path / "run", "cpu", coverage_penalty=0.1)
    assert nmt("translate", "-m", tmp_path / "run", "-i", os.devnull, "--coverage-penalty", "0.1") == 2
    assert "coverage_penalty needs attention" in capsys.readouterr().err


# ---- what translations must say ----


def test_terminology_and_banned_phrases_from_files(run, write):
    source = [*numbers(30), "", "nine nineteen"]
    terms = write("terms", ["one\t7", "two three\t8 8", "", "five\t3", "five\t4"])
    found = run(write("in", source), "--terminology", terms, "--ban", write("ban", ["9", "", "0"]))
    plain = run(write("in", source))
    for line, text in zip(source, found, strict=True):
        assert not {"9", "0"} & set(text.split()), text
        if " one " in f" {line} ":
            assert "7" in text  # a young model may continue the word
        if "two three" in line:
            assert "8 8" in text
        if "five" in line:
            assert {"3", "4"} & set(text)
    assert found != plain and found[-2] == ""


def test_protected_spans_are_copied(run, write, capsys):
    found = run(write("in", ["one {0} two", "three", "{0} {0}", "one \u6771 {\u6771}"]), "--protect", "copy")
    assert [line.count("{0}") for line in found] == [1, 0, 2, 0]
    assert capsys.readouterr().err.count("cannot encode") <= 1  # with bytes it can


def test_each_json_line_has_its_own_constraints(run, write, capsys):
    records = [
        {"source": "one two", "id": 1, "prefix": "5 6", "required": ["7", ["8", "9"]]},
        {"source": "one two", "banned": ["1", "2", "3"]},
        {"source": "one two", "required": ["3"], "id": "x"},
        {"source": "one", "required": ["4"], "banned": ["4"]},
        {"source": "one", "required": "4"},
        {"source": "one", "required": ["\x00", "4"]},
        {"source": "one two"},
        {"source": "", "prefix": "1"},
    ]
    rows = run(write("in", map(json.dumps, records)), "--format", "jsonl", code=3)
    found = [json.loads(row) for row in rows]
    texts = [one["translation"] for one in found]
    assert texts[0].startswith("5 6") and "7" in texts[0] and {"8", "9"} & set(texts[0])  # words may be continued
    assert found[0]["id"] == 1 and found[0]["prefix"] == "5 6" and "problems" not in found[0]
    assert not {"1", "2", "3"} & set(texts[1].split())
    assert "3" in texts[2].split() and found[2]["id"] == "x"
    assert found[3]["problems"] == ["contradiction"] and found[3]["candidates"] == [] and texts[4] == ""
    assert found[5]["problems"] == ["unwritable"] and "4" in texts[5].split()
    assert texts[6] and texts[7] == ""
    words = " ".join(capsys.readouterr().err.split())
    assert "line 4: contradictory constraints" in words
    assert "line 5: not a JSON object" in words
    assert "line 6: required words or protected text that the target tokenizer cannot encode" in words
    drawn = run(write("in", map(json.dumps, records[:3])), "--format", "jsonl", *SAMPLING, code=3)
    assert [json.loads(row).get("problems") for row in drawn] == [["contradiction"], None, ["contradiction"]]
    (begun,) = run(write("in", [json.dumps({"source": "one", "prefix": "5 6"})]), *SAMPLING)
    assert begun.startswith("5 6")


def test_an_invalid_first_json_line_is_still_detected_as_json(run, write, capsys):
    lines = [json.dumps({"source": "one", "required": 4}), json.dumps({"source": "two"})]
    assert run(write("in", lines), code=3)[0] == ""
    assert "line 1: not a JSON object" in " ".join(capsys.readouterr().err.split())


def test_json_requests_with_constraints():
    request = parse_json('{"source": "a", "required": ["b", ["c", "d"]], "prefix": "\\ud800"}')
    assert request is not None and set(request.extra) == {"required", "prefix"}
    assert replace(request, extra={}) == Request("a", {}, "\ufffd", ["b", ["c", "d"]], [])
    for wrong in ('"required": "b"', '"required": [1]', '"prefix": 1', '"banned": [["b"]]'):
        assert parse_json(f'{{"source": "a", {wrong}}}') is None


def test_unmet_constraints_are_counted(run, write, capsys, monkeypatch):
    """With a search that meets none: what cannot be brought about by a real one at will."""
    from nmtcli.translate import search

    ranked = search._ranked
    monkeypatch.setattr(search, "_ranked", lambda entries: [replaced(one) for one in ranked(entries)])
    records = [{"source": "one two", "required": ["7"]}] * 2
    found = run(write("in", map(json.dumps, records)), "--format", "jsonl")
    assert [json.loads(row)["problems"] for row in found] == [["unmet"]] * 2
    assert "2 lines (first: line 1): no translation meets all constraints" in " ".join(capsys.readouterr().err.split())


def replaced(hypothesis):
    from dataclasses import replace

    return replace(hypothesis, satisfied=False)


def test_constraints_of_a_split_line_apply_to_each_part(trained):
    long = "one two three. " * 4 + "four five {x} six. " + "one two three. " * 4
    handling = LineHandling(max_source_tokens=20, terms={"four": ["8"]}, banned=["9"], protect="copy")
    translator = Translator.load(trained, "cpu", handling=handling)
    (found,) = translator.translate([Request(long, prefix="5 6", required=["7"])])
    words = re.findall(r"\w+", found.text)
    assert found.treatment == "split" and not found.problems
    assert found.text.startswith("5 6") and {"7", "8"} <= set(words) and "9" not in words
    assert found.text.count("{x}") == 1


def test_a_term_with_an_unknown_word_applies_to_the_part_that_has_it(corpus, tmp_path):
    arguments = [*prepare_arguments(corpus, tmp_path / "data"), *overrides("data.tokenizer.type=word")]
    assert nmt(*arguments) == 0
    assert nmt("train", tmp_path / "data", "-o", tmp_path / "run", "--device", "cpu", *overrides(*TINY)) == 0
    handling = LineHandling(max_source_tokens=6, terms={"Zzyzx": ["7"]}, protect="copy")
    translator = Translator.load(tmp_path / "run", "cpu", handling=handling)
    (found,) = translator.translate(["one two three four five, Zzyzx one two three four"])
    assert found.treatment == "split" and not found.problems
    assert "7" in found.text.split()


def test_changed_constraints_refuse_a_resume(trained):
    model = next((trained / "checkpoints").iterdir())

    def settings(handling=None, **more):
        return Job((model,), "cpu", handling=handling or LineHandling(), **more).settings()

    plain = settings()
    for handling in (LineHandling(terms={"a": ["b"]}), LineHandling(banned=["a"]), LineHandling(protect="copy")):
        assert settings(handling) != plain
        assert settings(handling) == settings(handling)
    assert settings(search={"seed": 2}) != plain
    assert settings(weights=(1.0,)) != plain
    assert Job((model, model), "cpu").settings() != plain


# ---- ensembles ----


@pytest.fixture(scope="module")
def transformer(data, tmp_path_factory):
    """Another model on the same data."""
    output = tmp_path_factory.mktemp("transformer") / "run"
    settings = [*TINY, "model.encoder.type=transformer", "model.decoder.type=transformer", "train.max_updates=6"]
    assert nmt("train", data, "-o", output, "--device", "cpu", *overrides(*settings)) == 0
    return output


def test_ensembles_by_command_line(run, write, trained, transformer, onnx):
    text = write("in", numbers(10))
    alone = run(text, "--format", "tsv")
    assert run(text, models=[trained, onnx]) == [row.split("\t")[3] for row in alone]
    mixed = run(text, "--format", "tsv", models=[trained, transformer, onnx])
    assert mixed != alone
    halved = run(text, "--format", "tsv", "--weights", "2,1", models=[trained, transformer])
    assert [row.split("\t")[3] for row in halved] == [row.split("\t")[3] for row in mixed]
    log_mean = run(text, "--format", "tsv", "--ensemble-mean", "log-probability", models=[trained, transformer])
    expected = Translator.load([trained, transformer], "cpu", mean="log_probability").translate(numbers(10))
    assert [row.split("\t")[1] for row in log_mean] == [f"{one.candidates[0].score:.6f}" for one in expected]
    assert [row.split("\t")[2] for row in log_mean] != [
        row.split("\t")[2] for row in run(text, "--format", "tsv", models=[trained, transformer])
    ]
    heavy = run(text, "--weights", "1e9,1", models=[trained, transformer])
    assert heavy == [row.split("\t")[3] for row in alone]


def test_members_may_have_source_tokenizers_of_their_own(corpus, trained, run, write, tmp_path):
    """The second member counts for all but everything: its own tokenizer must have been used."""
    assert nmt(*prepare_arguments(corpus, tmp_path / "data"), *overrides("data.tokenizer.type=bpe")) == 0
    other = tmp_path / "other"
    shutil.copytree(find_model(trained), other)
    (other / "tokenizer.model").rename(other / "tokenizer.target.model")
    shutil.copy(tmp_path / "data" / "tokenizer.model", other / "tokenizer.source.model")
    options = ["--max-length-factor", "0.01", "--format", "tsv"]  # the limit is the same for both
    text = write("in", [*numbers(10), "", "one two three. " * 40])
    alone = run(text, *options, models=[other])
    together = run(text, *options, "--weights", "1e-9,1", models=[trained, other])
    assert [row.split("\t")[3] for row in together[:11]] == [row.split("\t")[3] for row in alone[:11]]
    assert alone[:11] != run(text, *options)[:11]
    assert Translator.load([trained, other], "cpu").translate(["one", "two"]) is not None


def test_models_that_form_no_ensemble_are_refused(corpus, trained, tmp_path, capsys):
    def words(*arguments):
        assert nmt("translate", "-m", trained, "-i", os.devnull, *arguments) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "needs several models" in words("--weights", "1,2")
    assert "not 2 positive numbers" in words("-m", trained, "--weights", "1,0")
    assert "not numbers" in words("-m", trained, "--weights", "a,b")
    assert "needs several models" in words("--ensemble-mean", "log-probability")
    assert nmt(*prepare_arguments(corpus, tmp_path / "data")[:-1], "290") == 0
    settings = [*TINY, "train.max_updates=1", "train.save_every=1", "train.valid_every=1"]
    assert nmt("train", tmp_path / "data", "-o", tmp_path / "run", "--device", "cpu", *overrides(*settings)) == 0
    assert "the target vocabularies differ: that of" in words("-m", tmp_path / "run")

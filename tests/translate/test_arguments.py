"""Arguments of the Python interface and bounds of settings: checked before any work."""

import math
import re
from pathlib import Path

import annotated_types
import pytest

from nmtcli import LineHandling, Request, Translator, UserError
from nmtcli.config.section import bounds_of
from nmtcli.settings import keys, load_config
from nmtcli.translate.engines import ModelOptions
from tests.conftest import nmt

WRONG = {
    "terms of a string": (lambda: LineHandling(terms={"book": "x"}), r"terms\['book'\]: is a string, not a list"),
    "banned string": (lambda: LineHandling(banned="x"), "banned: is a string"),
    "no tokens": (lambda: LineHandling(max_source_tokens=0), "greater than or equal to 1"),
    "unknown treatment": (lambda: LineHandling("chop"), "'split', 'cut' or 'refuse'"),
    "dictionary of a list": (lambda: LineHandling(dictionary=["a"]), "dictionary"),
    "required string": (lambda: Request("a", required="x"), "required: is a string"),
    "banned number": (lambda: Request("a", banned=[5]), r"banned\[0\]"),
    "source of a number": (lambda: Request(5), "source"),
    "protection of another kind": (lambda: LineHandling(protect="yes"), "'auto', 'mask', 'copy' or 'none'"),
    "no model": (lambda: Translator.load([]), "an empty list of models"),
    "no model in options": (lambda: ModelOptions(()).check(), "an empty list of models"),
    "None for a model": (lambda: Translator.load([None]), r"path\[0\]"),
    "number for a model": (lambda: Translator.load(5), "path"),
    "bytes for a model": (lambda: Translator.load(b"run"), "path: is bytes, not a list of strings"),
    "banned bytes": (lambda: LineHandling(banned=b"x"), "banned: is bytes, not a list of strings"),
    "int4": (lambda: Translator.load("x", quantize="int4"), "'int8', 'bf16' or 'fp16'"),
    "no threads": (lambda: Translator.load("x", threads=0), "threads"),
    "weights of a string": (lambda: Translator.load("x", weights="12"), "weights: is a string"),
    "unknown mean": (lambda: Translator.load("x", mean="median"), "'probability' or 'log_probability'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_raises_a_clear_error(case):
    make, words = WRONG[case]
    with pytest.raises(UserError, match=words):
        make()


CALLS = {
    "a string for lines": (("The book.",), {}, "is a string, not a list"),
    "bytes for lines": ((b"The book.",), {}, "lines: is bytes, not a list of strings"),
    "a dictionary for lines": (({"a": 1},), {}, "lines: is a dictionary, not a list of strings"),
    "None among lines": ((["one", None],), {}, r"lines\[1\]"),
    "bytes": (([b"one"],), {}, r"lines\[0\]"),
    "negative n_best": ((["one"],), {"n_best": -1}, "n_best"),
    "n_best of true": ((["one"],), {"n_best": True}, "n_best"),
    "too few numbers": ((["one", "two"],), {"numbers": [1]}, "1 for 2 lines"),
    "negative numbers": ((["one"],), {"numbers": [-1]}, r"numbers\[0\]"),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call_raises_a_clear_error(trained, case):
    arguments, options, words = CALLS[case]
    translator = Translator.load(trained, "cpu", threads=1)
    with pytest.raises(UserError, match=words):
        translator.translate(*arguments, **options)


def test_wrong_types_of_python_arguments_get_a_hint(trained):
    translator = Translator.load(trained, "cpu", threads=1)
    hints = {
        lambda: translator.translate("one two"): "write it as a list: ['one two']",
        lambda: translator.translate({"a": 1}): "give its values: list(lines.values())",
        lambda: translator.translate(b"one"): "decode and split it: lines.decode().split('\\n')",
        lambda: Translator.load(b"run"): "decode it, for example with os.fsdecode",
        lambda: LineHandling(terms={"book": "x"}): "write it as a list: ['x']",
    }
    for call, hint in hints.items():
        with pytest.raises(UserError) as raised:
            call()
        assert raised.value.hint == hint


def numbers():
    named = ((".".join(path), field) for path, field in keys())
    return [(key, field) for key, field in named if re.search("int|float", str(field.annotation))]


@pytest.mark.parametrize(("key", "field"), numbers(), ids=lambda one: one if isinstance(one, str) else "")
def test_every_number_has_an_upper_bound(key, field):
    if key == "train.corpus_weights":
        with pytest.raises(UserError, match="less than or equal"):
            load_config(overrides=["train.corpus_weights={a: 1e9}"])
        return
    if key == "model.encoder.special_ids":
        with pytest.raises(UserError, match="less than or equal"):
            load_config(overrides=["model.encoder.type=pretrained", "model.encoder.special_ids=[0, 1, 2, 10000000000]"])
        return
    most = next(
        one.le if isinstance(one, annotated_types.Le) else one.lt
        for one in bounds_of(field)
        if isinstance(one, annotated_types.Le | annotated_types.Lt)
    )
    assert math.isfinite(most)
    for value in ("1e308", *([str(2**64)] if most < 2**64 else []), ".inf", ".nan", "-1e308"):
        with pytest.raises(UserError):
            load_config(overrides=[f"{key}={value}"])


@pytest.mark.parametrize(
    "options",
    ["--length-penalty 1e308", "--length-penalty 1e9", "--coverage-penalty 1e308", "--top-k 18446744073709551616",
     "--set search.seed=18446744073709551616", "--beam-size 1000000000", "--n-best 1000000000",
     "--max-length-factor inf"],
)  # fmt: skip
def test_options_have_the_same_bounds(trained, tmp_path, options, capsys):
    (tmp_path / "in").write_text("one\n")
    command = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", "--format", "tsv"]
    assert nmt(*command, *options.split()) == 2
    assert "bug" not in capsys.readouterr().err
    assert not Path(tmp_path / "out").exists()

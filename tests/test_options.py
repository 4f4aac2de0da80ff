"""The options objects of the commands: their types, and combinations that are refused."""

from dataclasses import fields
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from nmtcli.api import (
    ExportOptions,
    PrepareOptions,
    ScoreOptions,
    TrainOptions,
    TranslateOptions,
    export,
    prepare,
    translate_file,
)
from nmtcli.config import SearchConfig
from nmtcli.errors import UserError
from nmtcli.options import Rule, check_rules
from nmtcli.score.options import RULES as SCORE_RULES


def test_search_options_are_generated_from_the_search_settings():
    options = {one.name: one for one in fields(TranslateOptions)}
    shared = options.keys() & SearchConfig.model_fields.keys()
    assert {"beam_size", "length_penalty", "method", "seed"} <= shared
    for name in shared:
        kind, option = get_args(get_type_hints(TranslateOptions, include_extras=True)[name])
        setting = SearchConfig.model_fields[name]
        assert set(get_args(kind)) - {type(None)} <= {setting.annotation, *get_args(setting.annotation)}, name
        assert option.help.split()[0] == setting.description.split()[0], name
        assert options[name].default is None, name
        assert name.replace("_", "-") in [one.removeprefix("--") for one in option.names] or not option.names


MODEL = (Path("model"),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: translate_file(TranslateOptions(models=MODEL, n_best=2)),
            "--n-best 2 is not possible with --format text",
        ),
        (lambda: translate_file(TranslateOptions(models=MODEL, resume=True)), "--resume needs an output file"),
        (lambda: translate_file(TranslateOptions(models=MODEL, weights="1")), "--weights 1: needs several models"),
        (lambda: export(ExportOptions(run=Path("run"))), "RUN and -o DIR are needed"),
        (lambda: prepare(PrepareOptions()), "-o DATA is missing"),
        (lambda: prepare(PrepareOptions(output=Path("x"), merge=MODEL, hold_out=3)), "--merge takes no other options"),
    ],
)
def test_the_library_refuses_what_the_command_line_refuses(call, message):
    with pytest.raises(UserError, match=message):
        call()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reference": MODEL, "target": Path("t")}, "--target cannot be used when scoring translations"),
        ({"model": Path("m"), "source": Path("s")}, "-m scores sentence pairs"),
        ({"gold_alignment": Path("-")}, "standard input can be read only once"),
        ({}, "nmt score needs a reference"),
        ({"reference": MODEL, "metric": "bleu,meteor"}, "unknown metric 'meteor'"),
        ({"reference": MODEL, "paired": "bootstrap"}, "--paired needs two systems or more"),
    ],
)
def test_conflicting_score_options_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        check_rules(ScoreOptions(**given), SCORE_RULES)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ExportOptions(form="foo"), "ExportOptions.form: should be 'safetensors', 'onnx'"),
        (lambda: ExportOptions(force="yes"), "ExportOptions.force: "),
        (lambda: ScoreOptions(paired="foo"), "ScoreOptions.paired: should be 'bootstrap' or 'randomization'"),
        (lambda: ScoreOptions(form="foo"), "ScoreOptions.form: "),
        (lambda: ScoreOptions(hypothesis=Path("h")), "ScoreOptions.hypothesis: "),
        (lambda: TranslateOptions(models=Path("m")), "TranslateOptions.models: "),
        (lambda: TranslateOptions(models=MODEL, beam_size="5"), "TranslateOptions.beam_size: "),
        (lambda: TrainOptions(data="d", output="r", device="gpu"), "TrainOptions.device: "),
        (lambda: PrepareOptions(hold_out="20"), "PrepareOptions.hold_out: "),
        (lambda: ScoreOptions(reference=("r", 1)), r"ScoreOptions.reference\[1\]: "),
        (lambda: ScoreOptions(batch_tokens=0), "ScoreOptions.batch_tokens: should be greater than or equal to 1"),
        (
            lambda: TranslateOptions(models=MODEL, n_best=20_000),
            "TranslateOptions.n_best: should be less than or equal",
        ),
    ],
)
def test_options_of_another_type_or_out_of_bounds_are_refused_by_name(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_strings_are_paths_and_lists_are_tuples():
    assert TranslateOptions(models=["m"], source="s") == TranslateOptions(models=(Path("m"),), source=Path("s"))
    assert ExportOptions(run="r", output="m") == ExportOptions(run=Path("r"), output=Path("m"))
    assert ScoreOptions(hypothesis=["a", Path("b")], reference=("r",)) == ScoreOptions(
        hypothesis=(Path("a"), Path("b")), reference=(Path("r"),)
    )


def test_only_the_first_broken_rule_is_reported():
    rules = (Rule(lambda o: o.real > 2, "{o.real} is too much", "take {o.imag}"), Rule(lambda o: True, "never told"))
    with pytest.raises(UserError, match=r"^3\.0 is too much") as told:
        check_rules(complex(3, 1), rules)
    assert told.value.hint == "take 1.0"

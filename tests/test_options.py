"""The options objects of the commands: their types, and combinations that are refused."""

from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from nmtcli.api import ExportOptions, PrepareOptions, ScoreOptions, TranslateOptions, export, prepare, translate_file
from nmtcli.config import SearchConfig
from nmtcli.errors import UserError
from nmtcli.options import Rule, check_rules
from nmtcli.score.options import RULES as SCORE_RULES


def choices(kind):
    """The types of a union, and the choices of a literal, as a set; None aside."""
    parts = [kind] if get_origin(kind) is Literal or not get_args(kind) else get_args(kind)
    return {one for part in parts for one in (get_args(part) or (part,))} - {type(None)}


def test_search_options_have_the_types_of_the_search_settings():
    ours, settings = get_type_hints(TranslateOptions), get_type_hints(SearchConfig)
    shared = ours.keys() & settings.keys()
    assert {"beam_size", "length_penalty", "method", "seed"} <= shared
    for name in shared:
        assert choices(ours[name]) == choices(settings[name]), name
        assert next(one.default for one in fields(TranslateOptions) if one.name == name) is None, name


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
        (lambda: export(ExportOptions(run=Path("run"))), "nothing to export"),
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
        ({"reference": MODEL, "target": Path("t")}, "--target does not go with scoring translations"),
        ({"model": Path("m"), "source": Path("s")}, "-m scores pairs of lines"),
        ({"gold_alignment": Path("-")}, "standard input can be read only once"),
        ({}, "nmt score needs a reference"),
        ({"reference": MODEL, "metric": "bleu,meteor"}, "unknown metric 'meteor'"),
        ({"reference": MODEL, "paired": "bootstrap"}, "--paired compares systems"),
    ],
)
def test_conflicting_score_options_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        check_rules(ScoreOptions(**given), SCORE_RULES)


def test_only_the_first_broken_rule_is_reported():
    rules = (Rule(lambda o: o.real > 2, "{o.real} is too much", "take {o.imag}"), Rule(lambda o: True, "never told"))
    with pytest.raises(UserError, match=r"^3\.0 is too much") as told:
        check_rules(complex(3, 1), rules)
    assert told.value.hint == "take 1.0"

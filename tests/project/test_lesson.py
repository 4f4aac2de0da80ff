"""The attention lesson: its code prints the documented output, and its diagram has the same numbers."""

import io
import re
import runpy
from contextlib import redirect_stdout

import pytest

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGE = (DOCS / "attention.md").read_text("utf-8")
DRAWING = runpy.run_path(str(DOCS / "draw_attention.py"))


def test_lesson_code_prints_the_documented_output():
    code, printed = re.findall(r"^```(?:python)?\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[:2]
    output = io.StringIO()
    with redirect_stdout(output):
        exec(compile(code, "attention.md", "exec"), {})  # it asserts that the model has the same weights
    assert output.getvalue() == printed
    assert len(code.splitlines()) <= 25


def test_hand_computed_numbers_are_right():
    scores, weights, context = DRAWING["numbers"]()
    steps = PAGE.split("## Attention step by step")[1].split("## Attention in PyTorch")[0]
    for values, start in ((scores, "$$e ="), (weights, r"$$\alpha_i ="), (context, "$$c =")):
        (formula,) = (line for line in steps.splitlines() if line.startswith(start))
        result = re.findall(r"\(([^()]*)\)", formula)[-1]
        assert [float(number) for number in result.split(",")] == pytest.approx(values, abs=0.006)


def test_the_diagram_is_up_to_date():
    assert DRAWING["PLACE"].read_text("utf-8") == DRAWING["picture"](), "run python docs/draw_attention.py"

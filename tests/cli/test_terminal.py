"""Text is printed unchanged: no emoji codes and no markup, on any console and in any table."""

import pytest
from rich.table import Table

from nmtcli.cli import console
from nmtcli.cli.training_display import TrainingDisplay, show_samples
from tests.conftest import nmt

TEXT = "a :100: b :b: [bold]c[/] [/x] \\[d] c.yaml:100: x\\"


@pytest.fixture(params=[False, True], ids=["piped", "terminal"])
def terminal(request, monkeypatch):
    for one in (console.stderr, console.stdout):
        monkeypatch.setattr(one, "_force_terminal", request.param)
        monkeypatch.setattr(one, "_color_system", None)
        monkeypatch.setattr(one, "_width", 300)
    monkeypatch.setenv("TERM", "xterm")


def test_messages_tables_and_samples_are_printed_without_markup(terminal, capsys):
    console.say(TEXT)
    console.warn(TEXT)
    console.show_error(TEXT, TEXT)
    table = Table("column")
    table.add_row(TEXT)
    console.stdout.print(table)
    console.stderr.print(table)
    show_samples([(TEXT, TEXT, TEXT)])
    found = capsys.readouterr()
    assert (found.out + found.err).count(TEXT) == 9


def test_figures_of_averages_and_validations_are_printed_without_markup(terminal, tmp_path, capsys):
    display = TrainingDisplay(tmp_path)
    metrics = {"step": 1, "improved": True, "without_improvement": 0, "accuracy_by_position": {}, "checkpoints": ["a"]}
    metrics |= dict.fromkeys(("loss", "perplexity", "accuracy", "bleu", "chrf", "exact_match"), 0.5)
    display.validated(metrics, [(TEXT, TEXT, TEXT)])
    display.validated({**metrics, "improved": False, "without_improvement": 2}, [])
    display.averaged(metrics)
    told = capsys.readouterr().err
    assert told.count(TEXT) == 3
    assert "best so far" in told and "best score 2 validations ago" in told and "best of all" in told


def test_file_and_line_of_an_error_are_printed_without_markup(terminal, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("\n" * 99 + "trian: {seed: 1}\n")
    assert nmt("prepare", "-o", tmp_path / "data", "-c", tmp_path / "c.yaml") == 2
    assert f"{tmp_path / 'c.yaml'}:100: unknown key trian; did you mean train?" in capsys.readouterr().err

"""The display of training: one line that fits, tables on a terminal, plain lines elsewhere."""

import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from nmtcli.cli import console, training_display
from nmtcli.cli.live_line import LiveLine, figures, fitting, line
from nmtcli.cli.training_display import TrainingDisplay
from nmtcli.train.logs import Observer

STARTED = {
    "step": 100,
    "total": 20_000,
    "epoch": 0,
    "parameters": 1_000_000,
    "pairs": 29_000,
    "device": "cuda",
    "precision": "bf16",
    "torch": "2.9",
    "ranks": 2,
}
UPDATED = {
    "step": 12_000,
    "epoch": 3.4,
    "loss": 3.412,
    "perplexity": 30.31,
    "accuracy": 0.4512,
    "gradient_norm": 0.83,
    "tokens_per_second": 12_345.6,
    "data_wait": 0.012,
    "learning_rate": 3e-4,
    "skipped": 0,
    "out_of_memory": 0,
}
VALIDATED = {
    "step": 12_000,
    "loss": 3.0,
    "perplexity": 20.5,
    "accuracy": 0.5,
    "accuracy_by_position": {"1-5": {"teacher_forced": 0.5, "free_running": 0.25, "tokens": 8}},
    "bleu": 30.0,
    "chrf": 50.0,
    "exact_match": 0.1,
    "improved": True,
    "without_improvement": 0,
}
SAMPLES = [(f"source [b]{n}[/b] " + "long " * 30, f"reference {n}", f"translation {n}") for n in range(3)]
MORE = {"skipped": 2, "out_of_memory": 1, "gpu_memory": 23.4e9, "teacher_forcing": 0.9, "risk": 0.5}


@settings(deadline=None)
@given(
    optional=st.sets(st.sampled_from(sorted({*UPDATED, *MORE} - {"step"}))),
    left=st.one_of(st.none(), st.integers(-5, 10**6)),
    width=st.integers(15, 220),
    more=st.integers(0, 100),
)
def test_progress_line_fits_the_width_and_widens_monotonically(optional, left, width, more):
    metrics = {"step": 12_000, **{key: value for key, value in {**UPDATED, **MORE}.items() if key in optional}}
    every = figures(metrics, 20_000, left)
    shown = fitting(every, width)
    assert len(line(shown).plain) <= width
    assert set(shown) <= set(fitting(every, width + more))
    assert fitting(every, 1000) == every
    assert shown == [figure for figure in every if figure in shown]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 132, 200])
@pytest.mark.parametrize("validating", [None, (0, 2000), (1200, 2000)])
def test_progress_line_is_a_single_line(width, validating):
    live = LiveLine()
    live.start(100, 20_000)
    live.move({**UPDATED, **MORE})
    live.validating = validating
    output = io.StringIO()
    Console(file=output, width=width, force_terminal=True, no_color=True).print(live)
    (shown,) = output.getvalue().splitlines()
    assert width < 80 or validating or "12,000/20,000" in shown


def test_80_columns_show_the_most_important_figures():
    shown = line(fitting(figures(UPDATED, 20_000, 4 * 3600), 77)).plain
    assert shown == "12,000/20,000  loss 3.412  ppl 30.3  acc 45.1%  12,346 tok/s  4:00:00 left"


def tell_all(display: Observer):
    with display:
        display.started(STARTED)
        display.updated(UPDATED)
        display.split({"step": 12_001, "tokens": 4096, "parts": 2, "setting": "train.batch_tokens"})
        display.split({"step": 12_002, "tokens": 4096, "parts": 2, "setting": "train.batch_tokens"})
        display.recovered(
            {"step": 12_003, "to_step": 12_000, "reason": "loss is nan", "precision": "fp32", "rate_scale": 0.5}
        )
        display.validating(0, 2000)
        display.validating(2000, 2000)
        display.validated(VALIDATED, SAMPLES)
        display.validated({**VALIDATED, "bleu": 29.0, "improved": False, "without_improvement": 1}, SAMPLES)
        display.stopped({"step": 12_003, "reason": "all done"})


def test_without_a_terminal_plain_lines_are_printed(tmp_path, capsys):
    tell_all(TrainingDisplay(tmp_path))
    words = capsys.readouterr().err
    assert "\x1b" not in words
    lines = words.splitlines()
    assert lines[0] == "1,000,000 parameters, 29,000 pairs, cuda in bf16, 2 processes, torch 2.9"
    assert lines[1] == f"resuming from update 100 of 20,000 in {tmp_path}"
    assert lines[2].startswith("update 12,000/20,000  epoch 3.40  loss 3.412  ppl 30.3  acc 45.1%  12,346 tok/s")
    assert "norm 0.83  data wait 1%" in lines[2]
    assert words.count("out of memory at update") == 1
    assert "a lower train.batch_tokens is faster" in words
    assert "update 12,003: loss is nan; returned to update 12,000, now in fp32, learning rate times 0.5" in words
    assert "BLEU 30.00  chrF 50.00  exact 10.0%  best so far" in words
    assert "BLEU 29.00  chrF 50.00  exact 10.0%  best score 1 validation ago" in words
    for label, text in zip(("source", "reference", "translation"), SAMPLES[2], strict=True):
        assert f"{label}: {text}" in lines
    stopped, summary, curves, _ = lines[-4:]
    assert (stopped, curves) == ("stopped: all done", f"curves: {tmp_path / 'curves.html'}")
    assert summary.startswith("11,903 updates done in ")  # those of this process


@pytest.mark.parametrize(("total", "seconds", "epochs", "days"), [(1000, 80, 100, False), (2000, 100, 200, True)])
def test_long_training_is_announced_once(tmp_path, monkeypatch, capsys, total, seconds, epochs, days):
    """By its second update: before the first the model may have been validated."""
    now = [1000.0]
    monkeypatch.setattr(training_display.time, "monotonic", lambda: now[0])
    display = TrainingDisplay(tmp_path)
    display.started({**STARTED, "step": 0, "total": total})
    now[0] += 10_000  # a validation
    for step in range(1, 5):
        now[0] += seconds
        display.updated({**UPDATED, "step": step, "epoch": step / 10})
    words = capsys.readouterr().err
    assert words.count(f"{total:,} updates are {epochs} epochs of 29,000 pairs") == 1
    assert words.count("this run would take about 2 days") == days


def test_resumed_or_short_training_gives_no_warning(tmp_path, capsys):
    for first, total in ((100, 20_000), (0, 100)):
        display = TrainingDisplay(tmp_path)
        display.started({**STARTED, "step": first, "total": total})
        for step in range(first + 1, first + 4):
            display.updated({**UPDATED, "step": step, "epoch": step / 10})
    assert "warning" not in capsys.readouterr().err


def test_without_a_terminal_updates_are_printed_once_a_minute(tmp_path, monkeypatch, capsys):
    now = [1000.0]
    monkeypatch.setattr(training_display.time, "monotonic", lambda: now[0])
    display = TrainingDisplay(tmp_path)
    display.started(STARTED)
    for step in range(101, 141):
        now[0] += 6
        display.updated({**UPDATED, "step": step, "skipped": 3})
    display.stopped({"step": 140, "reason": "all done"})
    words = capsys.readouterr().err
    assert re.findall(r"^update (\d+)/", words, re.MULTILINE) == ["101", "111", "121", "131"]
    assert "40 updates done in 0:04:00, 0.2 updates/s, 3 updates of the run skipped" in words


@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_fit_the_width_of_the_terminal(tmp_path, monkeypatch, width):
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, no_color=True, width=width, highlight=False, soft_wrap=True)
    for module in (console, training_display):
        monkeypatch.setattr(module, "stderr", terminal)
    tell_all(TrainingDisplay(tmp_path))
    words = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue())
    shown = [row.split() for row in words.splitlines()]
    assert ["3.000", "20.50", "50.0%", "30.00", "50.00", "10.0%"] in shown
    assert ["+0.000", "+0.00", "+0.0%", "-1.00", "+0.00", "+0.0%"] in shown
    assert ["reference", "2"] in [row[-2:] for row in shown]
    tables = words.split("accuracy by position")[1].split("\nvalidation at update")[0].splitlines()
    assert all(len(row.split("\r")[-1]) <= width for row in tables)
    assert "[b]2[/b]" in words


def test_time_left_is_estimated_from_the_updates_of_this_process():
    live = LiveLine()
    live.start(100, 300)
    assert live.stage.left is None
    live.move({"step": 200})
    live.stage.began -= 50
    assert 49 <= live.stage.left <= 50.1

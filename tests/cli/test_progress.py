"""Progress of long work: rate and time left, on a terminal and in a log file."""

import io
import os
import re
import subprocess
import sys
from itertools import pairwise

import pytest
from rich.console import Console

from nmtcli.cli import console
from nmtcli.cli import progress as module
from nmtcli.cli.progress import Progress, Stage, format_time


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


def test_time_left_is_shown_while_the_estimated_total_changes(clock):
    """Bytes tell how much is left, lines how fast it is; nothing resets them."""
    stage = Stage("lines", 5000, share=0.5)  # what an earlier process did says nothing of this one's speed
    assert stage.rate is None
    assert stage.left is None
    for step in range(1, 5):
        clock.now += 10
        stage.move(5000 + 1000 * step, None, 0.5 + 0.1 * step)
        assert stage.rate == pytest.approx(100)
        assert stage.left == pytest.approx(50 - 10 * step)
    clock.now += 3
    assert stage.left == pytest.approx(7)
    clock.now += 300  # later than thought
    assert stage.left == 0


def test_without_a_terminal_a_line_a_minute_and_a_summary_are_printed(clock, capsys):
    with Progress() as progress:
        progress.move("lines", 0, share=0.0)
        for step in range(1, 31):
            clock.now += 10
            progress.move("lines", 1000 * step, share=step / 60)
    progress.summary(30_000, "lines", "translated")
    *minutes, summary = capsys.readouterr().err.splitlines()
    assert len(minutes) == 5
    assert minutes[0] == "lines: 6,000, 10%, 100/s, 0:09:00 left"
    assert summary == "30,000 lines translated in 0:05:00, 100 lines/s"
    done = [int(line.removeprefix("lines: ").split(", ")[0].replace(",", "")) for line in minutes]
    assert {after - before for before, after in pairwise(done)} == {6000}


def test_input_of_unknown_length_shows_a_rate_and_no_time_left(clock):
    stage = Stage("lines", 0)
    clock.now += 4
    stage.move(2, None, None)
    assert list(stage.figures()) == ["2", "0.5/s"]
    stage.move(1_234_567, 2_000_000, None)
    assert next(stage.figures()) == "1,234,567/2,000,000"


def test_progress_bar_is_erased_at_the_end(clock, monkeypatch):
    output = io.StringIO()
    terminal = Console(file=output, force_terminal=True, no_color=True, width=80, highlight=False, soft_wrap=True)
    for place in (console, module):
        monkeypatch.setattr(place, "stderr", terminal)
    with Progress() as progress:
        progress.move("lines", 0, share=0.0)
        clock.now += 100
        progress.move("lines", 200_000, share=0.25)
        progress._bars.refresh()
    progress.summary(200_000, "lines", "translated")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output.getvalue())
    assert "200,000  25%  2,000/s  0:05:00 left" in shown
    assert shown.rstrip().endswith("200,000 lines translated in 0:01:40, 2,000 lines/s")


def test_no_progress_is_shown_between_translations_on_a_terminal(clock, capsys):
    with Progress(quiet=True) as progress:
        clock.now += 1000
        progress.move("lines", 1)
        clock.now += 1000
        progress.move("lines", 2)
    progress.summary(2, "lines", "translated")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (59, "59.0 s"), (61, "0:01:01"), (90061, "1 day, 1:01:01")]
)
def test_durations_are_readable(seconds, words):
    assert format_time(seconds) == words


def test_a_terminal_without_cursor_movement_gets_plain_lines(clock, monkeypatch):
    output = io.StringIO()
    dumb = Console(file=output, force_terminal=True, width=80, soft_wrap=True, _environ={"TERM": "dumb"})
    for place in (console, module):
        monkeypatch.setattr(place, "stderr", dumb)
    with Progress() as progress:
        for step in range(3):
            progress.move("lines", 1000 * step, share=step / 10)
            clock.now += 100
    assert output.getvalue().count("lines: ") == 2


def test_names_of_stages_are_shown_without_markup(monkeypatch):
    shown = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(module, "stderr", shown)
    monkeypatch.setattr(module, "is_live", lambda: True)
    with Progress() as progress:
        progress.move("fetching sets/[v2]/[/x]", 1)
    assert "fetching sets/[v2]/[/x]" in shown.file.getvalue()


@pytest.mark.parametrize("form", ["tsv", "jsonl", "pharaoh"])
def test_results_go_to_a_file_while_a_bar_is_on_the_terminal(trained, tmp_path, form):
    (tmp_path / "text").write_text("one two\nthree\n")
    command = [sys.executable, "-m", "nmtcli", "score", "-m", str(trained), "--format", form]
    command += [f"--{side}={tmp_path / 'text'}" for side in ("source", "target")]
    expected = subprocess.run(command, capture_output=True, check=True).stdout
    terminal, stderr = os.openpty()
    with (tmp_path / "scores").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=stderr, env={**os.environ, "TERM": "xterm"})
        os.close(stderr)
        shown = b""
        while part := read(terminal):
            shown += part
        assert process.wait() == 0
    os.close(terminal)
    assert (tmp_path / "scores").read_bytes() == expected
    assert b"2/2" in shown


def read(terminal: int) -> bytes:
    """What was written to a terminal; nothing after its last writer has ended."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""

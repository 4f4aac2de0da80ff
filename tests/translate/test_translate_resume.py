"""A translation that is killed and resumed, or spread over workers, has the same bytes."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from nmtcli.errors import DataError, ResourceError, UserError
from nmtcli.staging import exclusive
from nmtcli.translate import lines as line_windows
from nmtcli.translate.job import Job, translate_windows
from nmtcli.translate.lines import LineReader, Prefix, Report, Tally, Window
from nmtcli.translate.outputs import OutputFiles, read_progress
from tests.conftest import WORDS, nmt

LINES = 600


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    """Some windows of lines, a few of them odd; blanks make them long, and windows few lines."""
    choose = random.Random(0)
    path = tmp_path_factory.mktemp("text") / "in"
    odd = [b"", b"\xff one", b"two\0three", b" ".join([b"one two three."] * 90)]
    lines = [" ".join(choose.choices(WORDS, k=choose.randint(1, 9))).encode() + b" " * 2500 for _ in range(LINES)]
    for _ in range(20):
        lines[choose.randrange(len(lines))] = choose.choice(odd)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def command(trained: Path, text: Path, folder: Path) -> list[str]:
    beside = ["--alignment", f"{folder}/links", "--attention", f"{folder}/looks.jsonl"]
    options = ["-b", "1", "--device", "cpu", "--format", "tsv", *beside]
    return ["translate", "-m", str(trained), "-i", str(text), "-o", f"{folder}/out", *options]


@pytest.fixture(scope="module")
def expected(trained, text, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    assert nmt(*command(trained, text, folder)) == 0
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def lines_done(folder: Path) -> int:
    record = folder / "out.progress"
    return json.loads(record.read_text())["lines"] if record.exists() else 0


def test_a_resumed_translation_has_the_same_bytes_after_two_kills(trained, text, expected, tmp_path, capsys):
    done = [0]
    for resume in ([], ["--resume"]):
        process = subprocess.Popen([sys.executable, "-m", "nmtcli", *command(trained, text, tmp_path), *resume])
        while lines_done(tmp_path) <= done[-1]:
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
        process.wait()
        done.append(lines_done(tmp_path))
    assert 0 < done[1] < done[2] < LINES
    assert (tmp_path / "out").read_bytes() != expected["out"]
    assert nmt(*command(trained, text, tmp_path), "--resume") == 0
    assert contents(tmp_path) == expected
    words = capsys.readouterr().err
    assert f"resuming after line {done[2]:,}" in words
    assert "not UTF-8" in words  # what was odd before the kills is told too


def test_translations_do_not_depend_on_worker_processes(trained, text, expected, tmp_path):
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        assert nmt(*command(trained, text, tmp_path / number), "--processes", number) == 0
        assert contents(tmp_path / number) == expected


@dataclass(frozen=True)
class DeadlyWindow(Window):
    """Kills the worker that reads it."""

    def requests(self, report):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_ends_translation_with_a_message(trained):
    job = Job((next((trained / "checkpoints").iterdir()),), "cpu")
    with pytest.raises(ResourceError, match="a worker process was killed"):
        list(translate_windows(job, [DeadlyWindow(1, [b"one"], False, Prefix())], processes=2))


# ---- a kill at any byte, without processes ----


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(line_windows, "MAX_LINES", 7)


def begin(trained: Path, text: Path, folder: Path):
    """The pieces of a translation, to be stopped anywhere."""
    job = Job((next((trained / "checkpoints").iterdir()),), "cpu", {"beam_size": 1}, alignment="apart")
    files = {"translations": folder / "out", "alignment": folder / "links"}

    def outputs(resume: bool) -> tuple[OutputFiles, LineReader]:
        begun = read_progress(folder / "out", job.settings()) if resume else None
        reader = LineReader(text.open("rb"))
        if begun:
            reader.skip(begun.input, begun.lines)
        return OutputFiles(files, job.settings(), folder / "out.progress", begun), reader

    return job, outputs


@pytest.mark.parametrize("seed", range(4))
def test_a_translation_stopped_at_any_byte_resumes(trained, tmp_path, small_windows, seed):
    choose = random.Random(seed)
    text = tmp_path / "in"
    text.write_text("".join(" ".join(choose.choices(WORDS, k=choose.randint(0, 5))) + "\n" for _ in range(60)))
    job, outputs = begin(trained, text, tmp_path)
    straight, reader = outputs(resume=False)
    results = list(translate_windows(job, reader.windows()))
    for result in results:
        straight.write(result)
    straight.close(finished=True)
    whole = contents(tmp_path)
    assert set(whole) == {"in", "out", "links"}
    assert whole["out"].count(b"\n") == whole["links"].count(b"\n") == 60
    done = 0
    for resume in (False, True, True):
        files, reader = outputs(resume)
        remaining = list(translate_windows(job, reader.windows()))
        assert [result.end for result in remaining] == [result.end for result in results[done:]]
        stop = choose.randrange(len(remaining))
        for result in remaining[:stop]:
            files.write(result)
            files.record()
        files.open()
        done += stop
        for name in ("out", "links"):  # a part of what follows is written, and then the power is off
            with (tmp_path / name).open("ab") as file:
                rest = remaining[stop].written["translations" if name == "out" else "alignment"]
                file.write(rest[: choose.randrange(len(rest) + 1)])
    files, reader = outputs(resume=True)
    for result in translate_windows(job, reader.windows()):
        files.write(result)
    files.close(finished=True)
    assert contents(tmp_path) == whole


def test_resume_with_mismatched_files_is_refused(trained, tmp_path, small_windows):
    text = tmp_path / "in"
    text.write_text("one two\n" * 30)
    job, outputs = begin(trained, text, tmp_path)
    files, reader = outputs(resume=False)
    for result in list(translate_windows(job, reader.windows()))[:2]:
        files.write(result)
    files.close(finished=False)
    settings = job.settings()
    assert read_progress(tmp_path / "out", settings)
    with pytest.raises(UserError, match="started with beam_size 1, not 2"):
        read_progress(tmp_path / "out", settings | {"beam_size": 2})
    text.write_text("one two\n" * 5 + "one too\n" * 25)
    with pytest.raises(DataError, match="the input is not that of"):
        outputs(resume=True)
    text.write_text("one two\n" * 14 + "three\n")  # only what is done must be the same
    outputs(resume=True)
    with (tmp_path / "out").open("r+b") as file:
        file.write(b"!")
    with pytest.raises(DataError, match="out: changed since"):
        outputs(resume=True)[0].open()
    (tmp_path / "out").rename(tmp_path / "other")
    with pytest.raises(UserError, match="out: is missing"):
        outputs(resume=True)[0].open()
    (tmp_path / "other").rename(tmp_path / "out")
    (tmp_path / "out.progress").write_text("{}")
    with pytest.raises(DataError, match="damaged"):
        read_progress(tmp_path / "out", settings)
    (tmp_path / "out.progress").unlink()
    with pytest.raises(UserError, match="nothing to resume"):
        read_progress(tmp_path / "out", settings)


def test_warnings_are_summed_over_windows():
    report = Report()
    report.note("cut", 3)
    report.note("cut", 5)
    report.add({"cut": Tally(2, 9), "refused": Tally(1, 7)})
    assert report.tallies == {"cut": (4, 3), "refused": (1, 7)}


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, []), (signal.SIGTERM, ["--processes", "2"]), (signal.SIGHUP, [])], ids=str
)
def test_an_interrupted_translation_prints_the_resume_command(trained, text, tmp_path, number, options):
    long = tmp_path / "long"  # so that it is not done before the signal comes
    long.write_bytes(text.read_bytes() * 20)
    # a child inherits that its parent ignores Ctrl-C, as what a shell runs in the background does
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "nmtcli", *command(trained, long, tmp_path), *options],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    signal.signal(signal.SIGINT, before)
    while not lines_done(tmp_path):
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, number)  # as a terminal does
    _, words = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    last, hint = words.splitlines()[-2:]
    assert re.fullmatch(rf"error: {number.name}: [\d,]+ lines are translated", last)
    assert hint == "hint: resume with the same command and --resume"
    assert "Traceback" not in words and "warn" not in words


def test_a_complete_output_is_replaced_and_kept_on_errors(trained, tmp_path, capsys):
    (tmp_path / "in").write_text("one\n")
    (tmp_path / "out").write_text("precious\n")
    run = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out"]
    assert nmt(*run, "--resume") == 2
    assert nmt(*run, "--set-off") == 2
    assert nmt(*run, "--dictionary", tmp_path / "absent") == 3
    assert (tmp_path / "out").read_text() == "precious\n"
    assert nmt(*run) == 0  # a complete file is replaced, as by any command
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
    assert "1 line translated in" in capsys.readouterr().err


def test_an_unfinished_output_is_not_overwritten_without_overwrite(trained, tmp_path, small_windows, capsys):
    (tmp_path / "in").write_text("one two\n" * 30)
    job, outputs = begin(trained, tmp_path / "in", tmp_path)
    files, reader = outputs(resume=False)
    for result in list(translate_windows(job, reader.windows()))[:2]:
        files.write(result)
    files.close(finished=False)
    before = contents(tmp_path)
    run = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", "-b", "1", "--device", "cpu"]
    assert nmt(*run) == 2
    words = capsys.readouterr().err
    assert "interrupted after line 14" in words
    assert "--resume" in words
    assert "--overwrite" in words
    assert contents(tmp_path) == before
    assert nmt(*run, "--resume", "--overwrite") == 2
    assert contents(tmp_path) == before
    assert nmt(*run, "--overwrite") == 0
    assert (tmp_path / "out").read_text().count("\n") == 30
    assert not (tmp_path / "out.progress").exists()
    (tmp_path / "out.progress").write_text("{}")  # damaged: nobody knows what would be lost
    assert nmt(*run) == 2
    assert nmt(*run, "--overwrite") == 0


def test_an_unfinished_output_without_lines_is_overwritten(trained, tmp_path):
    (tmp_path / "in").write_text("one two\n" * 3)
    _, outputs = begin(trained, tmp_path / "in", tmp_path)
    files, _ = outputs(resume=False)
    files.open()
    files.close(finished=False)
    assert (tmp_path / "out.progress").exists()
    assert nmt("translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", "-b", "1") == 0


def test_progress_file_has_position_and_rate_and_older_ones_resume(trained, tmp_path, small_windows):
    (tmp_path / "in").write_text("one two\n" * 30)
    job, outputs = begin(trained, tmp_path / "in", tmp_path)
    progress = tmp_path / "out.progress"
    files, reader = outputs(resume=False)
    for result in list(translate_windows(job, reader.windows()))[:2]:
        files.write(result)
    files.close(finished=False)
    record = json.loads(progress.read_text())
    assert (record["lines"], record["bytes"], record["total"]) == (14, 14 * 8, None)
    assert record["rate"] > 0
    assert time.strptime(record["time"], "%Y-%m-%dT%H:%M:%S%z")
    for name in ("bytes", "total", "rate", "time"):
        del record[name]
    progress.write_text(json.dumps(record))
    begun = read_progress(tmp_path / "out", job.settings())
    assert begun is not None
    size = (tmp_path / "in").stat().st_size
    resumed = OutputFiles({}, job.settings(), progress, begun, lambda: size)
    assert resumed.share == pytest.approx(14 / 30)
    resumed.record()
    assert json.loads(progress.read_text())["total"] == size


def test_one_process_writes_an_output(trained, tmp_path, capsys):
    (tmp_path / "in").write_text("one\n")
    command = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", "--device", "cpu"]
    with exclusive(tmp_path / ".out.lock"):
        for more in ([], ["--overwrite"], ["--resume"]):
            assert nmt(*command, *more) == 2
            assert f"{tmp_path}/out: process {os.getpid()} on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert nmt(*command) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]

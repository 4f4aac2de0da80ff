"""Preparation writes the same bytes with one process and with several, and after a kill."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmtcli.data.workers import local_workers
from nmtcli.errors import ResourceError
from tests.conftest import nmt
from tests.prepare.text_lengths import TextLength

PAIRS = 30_000  # several blocks
SETTINGS = ["--vocab-size", "400", "--set", "data.tokenizer.training_pairs=500"]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("corpus")
    choose = random.Random(1)
    words = ["".join(choose.choices("abcdefghij", k=choose.randint(1, 7))) for _ in range(300)]

    def line() -> bytes:
        return " ".join(choose.choices(words, k=choose.randint(0, 40))).encode()

    dirty = [b"", b"x\0y", b"f\xfcr", b"<b>bold</b>", b"copied", b"a" * 3000]
    for name in ("train.en", "train.de"):
        lines = [choose.choice(dirty) if choose.random() < 0.02 else line() for _ in range(PAIRS)]
        lines[20_000:21_000] = lines[:1000]
        (folder / name).write_bytes(b"".join(text + b"\n" for text in lines))
    for name in ("valid.en", "valid.de"):
        (folder / name).write_bytes(b"".join(line() + b" end\n" for _ in range(50)))
    sides = {f"--{s}-{k}": f"{s}.{v}" for s in ("train", "valid") for k, v in (("source", "en"), ("target", "de"))}
    return [part for option, name in sides.items() for part in (option, str(folder / name))]


@pytest.fixture(scope="module")
def expected(files, tmp_path_factory) -> dict[Path, bytes]:
    output = tmp_path_factory.mktemp("one") / "data"
    assert nmt("prepare", "-o", output, *files, *SETTINGS, "--processes", "1") == 0
    return contents(output)


def contents(directory: Path) -> dict[Path, bytes]:
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_two_processes_write_the_same_bytes(files, expected, tmp_path):
    assert nmt("prepare", "-o", tmp_path / "data", *files, *SETTINGS, "--processes", "2") == 0
    assert contents(tmp_path / "data") == expected
    assert b'"duplicate": 0' not in expected[Path("report.json")]


def start(files, output: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "nmtcli", "prepare", "-o", str(output), *files, *SETTINGS, "--processes", "2"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)


def children(process: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


@pytest.mark.parametrize("seen", ["spill-*", "train"])
def test_repeating_a_killed_command_writes_the_same_bytes(seen, files, expected, tmp_path):
    output = tmp_path / "data"
    process = start(files, output)
    limit = time.monotonic() + 60
    while not list((tmp_path / ".data.partial").glob(seen)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < limit
        time.sleep(0.002)
    workers = children(process.pid)
    process.kill()
    process.communicate()
    assert not output.exists()
    assert nmt("prepare", "-o", output, *files, *SETTINGS, "--processes", "1") == 0
    assert contents(output) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    while any(Path(f"/proc/{worker}").exists() for worker in workers):  # they end with their parent
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_stops_prepare_with_a_message_and_no_output(files, tmp_path, number, code):
    process = start(files, tmp_path / "data")
    while not list((tmp_path / ".data.partial").glob("spill-*")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)
    for member in (*children(process.pid), process.pid):  # a terminal signals the whole group
        os.kill(member, number)
    _, words = process.communicate(timeout=30)
    assert process.returncode == code
    assert words.decode() == f"error: {number.name}: stopped\nhint: run the same command again\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_a_signal_does_not_wait_for_the_training_of_the_tokenizer(tmp_path):
    choose = random.Random(2)
    for side in ("source", "target"):  # SentencePiece takes minutes for so many different words
        text = ("".join(choose.choices("abcdefghijklmnopqrst  ", k=200)) + "\n" for _ in range(60_000))
        (tmp_path / side).write_text("".join(text), "utf-8")
    files = [f"--{split}-{side}={tmp_path / side}" for split in ("train", "valid") for side in ("source", "target")]
    command = [sys.executable, "-m", "nmtcli", "prepare", "-o", tmp_path / "data", *files, "--vocab-size", "8000"]
    process = subprocess.Popen(
        [*command, "--set", "data.cleaning.held_out=false", "--processes", "1"], stderr=subprocess.PIPE
    )
    while len(list(Path(f"/proc/{process.pid}/task").iterdir())) < 16:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert words.decode() == "error: SIGINT: stopped\nhint: run the same command again\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_workers_keep_the_order_and_a_killed_worker_is_reported():
    for processes in (1, 3):
        with local_workers(processes, TextLength) as workers:
            assert list(workers.map("x" * n for n in range(50))) == list(range(50))
    with pytest.raises(ResourceError, match="a worker process was killed"), local_workers(2, TextLength) as workers:
        list(workers.map(["a", "die", "b"]))

"""Translation on a cluster has the bytes of one process, whatever happens to its workers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs the extra cluster")

from tests.clusters import cluster
from tests.conftest import WORDS, nmt

LINES = 1_000
WITHOUT_MODEL = """
import pathlib
read = pathlib.Path.read_text
def missing(path, *options, **named):
    if path.name == "config.json":
        raise FileNotFoundError(2, "No such file or directory")
    return read(path, *options, **named)
pathlib.Path.read_text = missing
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    choose = random.Random(0)
    path = tmp_path_factory.mktemp("text") / "in"
    # blanks make lines long, and windows short
    lines = [" ".join(choose.choices(WORDS, k=choose.randint(1, 9))).encode() + b" " * 10000 for _ in range(LINES)]
    lines[7], lines[99] = b"\xff one", b""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def command(trained, text, output, *options) -> list[str]:
    return ["translate", "-m", str(trained), "-i", str(text), "-o", str(output), "-b", "1", "--format", "tsv", *options]


@pytest.fixture(scope="module")
def expected(trained, text, tmp_path_factory) -> bytes:
    output = tmp_path_factory.mktemp("whole") / "out"
    assert nmt(*command(trained, text, output, "--processes", "1")) == 0
    return output.read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster"), 2, "--no-nanny") as found:
        yield found


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "nmtcli", *arguments], stderr=subprocess.PIPE, text=True)


def wait_for_lines(output: Path, process: subprocess.Popen, lines: int = 1) -> None:
    record = output.with_name(f"{output.name}.progress")
    end = time.monotonic() + 60
    while not record.exists() or json.loads(record.read_text())["lines"] < lines:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.002)


def test_workers_die_and_join_and_the_bytes_stay_the_same(trained, text, expected, made, tmp_path):
    output = tmp_path / "out"
    process = start(command(trained, text, output, "--scheduler", str(made.file)))
    wait_for_lines(output, process)
    made.add(1, "--no-nanny", wait=False)
    made.kill(made.workers.pop(0))
    _, words = process.communicate(timeout=100)
    assert process.returncode == 0, words
    assert output.read_bytes() == expected
    assert all(line.startswith(("warning:", f"{LINES:,} lines translated")) for line in words.splitlines()), words


def test_an_interrupted_translation_resumes_elsewhere(trained, text, expected, made, tmp_path):
    output = tmp_path / "out"
    process = start(command(trained, text, output, "--scheduler", str(made.file)))
    wait_for_lines(output, process)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert [line.partition(":")[0] for line in words.splitlines()] == ["error", "hint"], words
    assert "--resume" in words
    made.add(1, "--no-nanny")
    assert nmt(*command(trained, text, output, "--scheduler", str(made.file), "--resume")) == 0
    assert output.read_bytes() == expected


def refused(made, arguments, capsys, **environment) -> str:
    """The error of a command after a worker with these variables joined."""
    made.add(1, "--no-nanny", **environment)
    try:
        assert nmt(*arguments) in (2, 3)
    finally:
        made.kill(made.workers.pop())
    error, *hints = capsys.readouterr().err.splitlines()
    assert error.startswith("error: worker tcp://127.0.0.1:")
    assert len(hints) == 1
    return error


def test_a_worker_of_another_version_is_refused(trained, text, made, tmp_path, capsys):
    (tmp_path / "sitecustomize.py").write_text("import nmtcli.version\nnmtcli.version.__version__ = '0.0.7'\n")
    path = os.pathsep.join([str(tmp_path), made.environment["PYTHONPATH"]])
    arguments = command(trained, text, tmp_path / "out", "--scheduler", str(made.file))
    assert "has nmtcli 0.0.7, not" in refused(made, arguments, capsys, PYTHONPATH=path)
    assert not (tmp_path / "out").exists()


def test_another_processor_is_told_or_refused(trained, made, tmp_path, capsys):
    """Refused if it multiplies in another way, as on some AMD CPUs."""
    source = tmp_path / "in"
    source.write_text("one\n")
    made.add(1, "--no-nanny", ATEN_CPU_CAPABILITY="default")
    try:
        code = nmt(*command(trained, source, tmp_path / "out", "--scheduler", str(made.file)))
    finally:
        made.kill(made.workers.pop())
    said = capsys.readouterr().err
    assert ("the workers have different processors" in said) if code == 0 else ("computes in fp32" in said), said


def test_a_worker_without_the_model_is_refused(trained, text, made, tmp_path, capsys):
    # as on a machine that does not share the folder: there is nothing at the path
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_MODEL)
    path = os.pathsep.join([str(tmp_path), made.environment["PYTHONPATH"]])
    arguments = command(trained, text, tmp_path / "out", "--scheduler", str(made.file))
    error = refused(made, arguments, capsys, PYTHONPATH=path)
    assert str(trained.name) in error


def test_a_scheduler_excludes_other_workers(trained, text, tmp_path, capsys):
    arguments = command(trained, text, tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9", "--processes", "2")
    assert nmt(*arguments) == 2
    assert "--scheduler tcp://127.0.0.1:9" in capsys.readouterr().err

"""Every output of every command: unusable outputs give the documented exit code, and no partial file is left.

The table is that of docs/exit-codes.md.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmtcli.checkpoint import RunDirectory
from nmtcli.errors import ResourceError, UserError
from nmtcli.staging import check_output, write_whole
from tests.conftest import TINY, nmt, overrides, prepare_arguments

LONG = "n" * 250  # fits, but not with what is put around it while it is written
TOO_LONG = "n" * 300
FILES = ["translate -o", "translate -o --overwrite", "translate --alignment", "score --report", "prepare --report"]
FILES += [f"translate --attention .{ending}" for ending in ("html", "png", "json", "jsonl")]
DIRECTORIES = ["prepare -o", "prepare -o --hold-out", "train -o", "export -o", "demo -o"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    (folder / "in").write_text("one two\nthree\n")
    return folder


def run(output: str, path: Path, place: Path, trained: Path, data: Path, corpus: Path) -> int:
    """The command that writes `output` to a path."""
    option, suffix = [*output.split(), ""][1:3]
    more, suffix = ([suffix], "") if suffix.startswith("--") else ([], suffix)
    path = path.with_name(path.name + suffix) if suffix else path
    match output.split(maxsplit=1)[0], option:
        case "translate", "-o":
            return nmt("translate", "-m", trained, "-i", place / "in", "-o", path, *more)
        case "translate", _:
            return nmt("translate", "-m", trained, "-i", place / "in", "-o", os.devnull, option, path)
        case "score", _:
            return nmt("score", place / "in", "-r", place / "in", option, path)
        case "prepare", "--report":
            page = path.with_name(path.name + ".html")
            return nmt("prepare", "--dry-run", *prepare_arguments(corpus, path)[3:], option, page)
        case "prepare", _ if more:
            arguments = prepare_arguments(corpus, path)
            return nmt(*arguments[:7], *arguments[11:], "--hold-out", "20", "--hold-out-test", "20")
        case "prepare", _:
            return nmt(*prepare_arguments(corpus, path))
        case "train", _:
            return nmt("train", data, option, path, "--device", "cpu", *overrides(*TINY, "train.max_updates=3"))
        case "export", _:
            return nmt("export", trained, option, path)
        case _:
            return nmt("demo", "--text-only", "--pairs", "6000", option, path)


def left(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.name != ".lock")


@pytest.mark.usefixtures("one_phrasebook")
@pytest.mark.parametrize("output", [*FILES, *DIRECTORIES])
@pytest.mark.parametrize("way", ["full", "read-only", "no directory", "a file", "too long", "not UTF-8"])
def test_unusable_outputs_give_the_documented_exit_code(
    output, way, place, trained, data, corpus, tmp_path, make_disk, capfd
):
    is_file = output in FILES
    folder = make_disk("4k") if way in ("full", "read-only") else tmp_path / "there"
    folder.mkdir(exist_ok=True)
    if way == "full":
        (folder / "filler").write_bytes(b"x" * 4096)
    names = {
        "full": "out",
        "read-only": "out",
        "too long": TOO_LONG,
        "not UTF-8": os.fsdecode(b"out-\xff"),
        "a file": "file/out",
    }
    if way == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    if way == "a file":
        (folder / "file").write_text("a file")
    if way == "no directory" and not is_file:
        pytest.skip("directories are made with those above them")
    before = left(folder)
    code = run(output, folder / names.get(way, "no/out"), place, trained, data, corpus)
    told = capfd.readouterr().err
    assert "bug in nmt" not in told and "Traceback" not in told, told
    if way == "not UTF-8" and is_file:
        assert code == 0
        return
    assert code == (4 if way == "full" else 2), told
    whole = [path for path in left(folder) if path not in before and not path.name.startswith(".")]
    # what goes on by the same command: a run without a checkpoint, a translation, the folder of a demonstration
    begun = {"out", "out.jsonl", "config.yaml", "fingerprint", "checkpoints", "text"}
    assert not [path for path in whole if path.name not in begun]


@pytest.mark.parametrize("output", ["score --report", "export -o", "train -o"])
def test_file_names_of_the_maximum_length_are_written(output, place, trained, data, corpus, tmp_path):
    assert run(output, tmp_path / LONG, place, trained, data, corpus) == 0
    assert (tmp_path / LONG).exists()


@pytest.mark.parametrize("way", ["a directory", "too long"])
def test_unwritable_progress_file_is_named(way, place, trained, tmp_path, capsys):
    """FILE.progress: what stands in its place, or a name that becomes too long by it, is refused before any work."""
    output = tmp_path / ("out" if way == "a directory" else "o" * 255)
    if way == "a directory":
        (tmp_path / "out.progress").mkdir()
    assert nmt("translate", "-m", trained, "-i", place / "in", "-o", output) == 2
    assert "bug in nmt" not in capsys.readouterr().err
    assert not output.exists()


STANDARD_OUTPUT = ["--help", "score", "score -m", "translate", "prepare --dry-run", "export --check"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize("verb", STANDARD_OUTPUT)
def test_full_standard_output_gives_exit_code_4(verb, place, trained, corpus):
    text = place / "in"
    arguments = {
        "score": ["score", text, "-r", text],
        "score -m": ["score", "-m", trained, "--source", text, "--target", text],
        "translate": ["translate", "-m", trained, "-i", text],
        "prepare --dry-run": ["prepare", "--dry-run", *prepare_arguments(corpus, place)[3:]],
        "export --check": ["export", trained, "--check"],
    }.get(verb, [verb])
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "nmtcli", *map(str, arguments)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert "bug in nmt" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 4, done.stderr


def test_output_to_a_device_or_a_link_keeps_it(tmp_path):
    write_whole(Path(os.devnull), b"gone")
    assert Path(os.devnull).is_char_device()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("arguments", [["translate", "-o", "/dev/full"], ["score", "--report", "/dev/full"]], ids=str)
def test_full_device_gives_exit_code_4(arguments, place, trained, capsys):
    verb, option, path = arguments
    if not Path(path).exists():
        pytest.skip("no such device here")
    own = ["-m", trained, "-i", place / "in"] if verb == "translate" else [place / "in", "-r", place / "in"]
    assert nmt(verb, *own, option, path) == 4
    assert Path(path).is_char_device()


def closed_early(*arguments):
    """The exit code and the messages of a command whose reader closes the pipe at once."""
    command = [sys.executable, "-m", "nmtcli", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        told = process.stderr.read()
    return process.returncode, told


def test_a_page_or_document_whose_reader_left_is_no_error(trained, tmp_path):
    code, told = closed_early("train", "--plot", trained)
    assert code == 0, told
    (tmp_path / "x.md").write_text("One two.\n")
    code, told = closed_early("translate", "-m", trained, "-i", tmp_path / "x.md", "-b", "1", "--max-length", "3")
    assert code == 0, told


@pytest.mark.parametrize(
    "arguments",
    [
        "train --plot {run}",
        "score -m {run} --source {corpus}/valid.words --target {corpus}/valid.digits",
        "score {corpus}/valid.digits -r {corpus}/valid.digits --json",
        "export {run} --check",
    ],
)
def test_a_closed_standard_output_is_reported(arguments, trained, corpus):
    command = f"exec {sys.executable} -m nmtcli {arguments.format(run=trained, corpus=corpus)} >&-"
    done = subprocess.run(["bash", "-c", command], check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3, done.stderr
    assert "standard output is closed" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"]])
def test_help_whose_reader_left_is_no_error(arguments):
    assert closed_early(*arguments) == (0, "")


def started(data, run, stderr):
    """A training whose messages go to `stderr`."""
    settings = overrides(*TINY, "train.max_updates=100000", "train.save_every=1000", "train.log_every=1")
    command = [sys.executable, "-m", "nmtcli", "train", str(data), "-o", str(run), "--device", "cpu", *settings]
    return subprocess.Popen(command, stderr=stderr)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
@pytest.mark.parametrize("where", ["a pipe that is closed", "a full disk"])
def test_work_goes_on_where_its_messages_cannot_be_written(where, data, place, trained, tmp_path):
    """As under `|& tee log`, where Ctrl-C ends tee first: training goes on, saves, and has the documented code."""
    log = tmp_path / "run" / "metrics.jsonl"
    with Path("/dev/full").open("w") as full:
        process = started(data, tmp_path / "run", subprocess.PIPE if "pipe" in where else full)
        if process.stderr is not None:
            process.stderr.close()
        try:
            while not log.exists() or log.read_text().count('"updated"') < 5:
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
            assert process.wait() == 130
        finally:
            process.kill()
            process.wait()
        assert RunDirectory(tmp_path / "run").steps()
        translate = ["translate", "-m", trained, "-i", place / "in", "-o", tmp_path / "out", "--device", "cpu"]
        for arguments, code in ((translate, 0), (["translate", "--no-such-option"], 2)):
            command = [sys.executable, "-m", "nmtcli", *map(str, arguments)]
            assert subprocess.run(command, stderr=full, check=False).returncode == code
    assert (tmp_path / "out").read_text().count("\n") == (place / "in").read_text().count("\n")


def test_scores_are_printed_where_their_report_cannot_be_written(place, monkeypatch, capsys):
    def full(path, content):
        raise ResourceError(f"{path}: the disk is full")

    monkeypatch.setattr("nmtcli.score.scoring.write_output", full)
    assert nmt("score", place / "in", "-r", place / "in", "--report", place / "page.html") == 4
    written = capsys.readouterr()
    assert "100.0" in written.out and "the disk is full" in written.err


def test_a_file_in_a_directory_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    """A new file takes its place, so it does not help that the file itself can be written. Root may write anywhere."""
    (tmp_path / "page.html").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UserError, match="permission denied"):
        check_output(tmp_path / "page.html")


def test_a_score_below_the_minimum_fails_also_where_the_reader_left(place, monkeypatch):
    (place / "other").write_text("something else\n" * 3)
    (place / "same").write_text("one two three four five\n" * 3)

    def leave(*_):
        raise BrokenPipeError

    monkeypatch.setattr(sys.modules["nmtcli.cli.score"], "_show", leave)
    assert nmt("score", place / "other", "-r", place / "same", "--at-least", "bleu=30") == 5

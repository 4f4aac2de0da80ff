"""Error messages of the commands: one clear line each, with the documented exit code."""

import errno
import gzip
import shutil
import sys

import pytest

from nmtcli.checkpoint import find_model
from nmtcli.cli import _explain
from tests.conftest import nmt

# the command line, its exit code, what it must say; run, in and ref are there, and what `broken` makes
TRANSLATE = [
    ("-i in", 2, "error: Missing option '-m'"),
    ("-m run --beem-size 3", 2, "No such option: --beem-size"),
    ("-m run -i in extra", 2, "unexpected extra argument"),
    ("-m run -i in -b x", 2, "error: Invalid value for '-b'"),
    ("-m nowhere -i in", 3, "nowhere: no such model"),
    ("-m folder -i in", 3, "folder: not a model directory"),
    ("-m in -i in", 3, "in: not a model directory"),
    ("-m no-weights -i in", 3, "model.safetensors: missing"),
    ("-m no-tokenizer -i in", 3, "has no tokenizer"),
    ("-m cut -i in -o out", 3, "damaged or cut short"),
    ("-m run -i nofile", 3, "nofile: no such file"),
    ("-m run -i folder", 2, "a folder needs an output folder"),
    ("-m run -i in -o folder", 2, "folder: cannot write: is a directory"),
    ("-m run -i in -o no/out", 2, "no/out: cannot write: no directory no"),
    ("-m run -i in -o /proc/out", 2, "cannot write"),
    ("-m run -i in -o /dev/full", 4, "No space left"),
    ("-m run -i in -o in", 2, "in: given twice"),
    ("-m run -i in --alignment in", 2, "in: given twice"),
    ("-m run -i in --attention no/x.html", 2, "no/x.html: cannot write: no directory no"),
    ("-m run -i in --attention x.pdf", 2, "x.pdf: not a format of attention heat maps"),
    ("-m run -i in --terminology terms", 3, "terms:1: not source term, tab, target term"),
    ("-m run -i in --ban folder", 3, "folder: cannot read"),
    ("-m run -i in -b 0", 2, "--beam-size: beam_size: input should be greater"),
    ("-m run -i in --beam-groups 2 -b 5", 2, "--beam-size: beam_size 5 is not a multiple"),
    ("-m run -i in --min-length 5 --max-length 2", 2, "--min-length: min_length 5 is over max_length 2"),
    ("-m run -i in --length-penalty nan", 2, "--length-penalty: length_penalty: input should be a finite number"),
    ("-m run -i in --device cuda:9", 2, "'cuda:9' is not one of"),
    ("-m run -i in --set beam=2", 2, "--set beam: not a setting of search"),
    ("-m run -i empty -o out", 0, ""),
    ("-m run -i nul -o out", 0, "control characters, replaced by spaces"),
    ("-m run -i utf16 -o out", 3, "utf16: is UTF-16 text"),
    ("-m run -i packed -o out", 0, ""),
    ("-m run -i in -o out --input-format jsonl", 3, "2 lines (first: line 1): not a JSON object"),
    ("-m run -i array -o out", 0, "line 1: looks like JSON without text under source, src, text, sentence or input"),
    ("-m run -i pretty -o out", 0, "(one object per line); translated as plain text"),
    ("-m run -i array -o out --input-format jsonl", 3, 'line 1: not a JSON object with text under "source"'),
    ("-m run -i in --overwrite", 2, "--overwrite needs an output file\nhint: give -o FILE, or leave --overwrite out"),
    ("-m run -i in --resume", 2, "--resume needs an output file"),
]
SCORE = [
    ("ref", 2, "needs a reference"),
    ("nofile -r ref", 3, "nofile: no such file"),
    ("folder -r ref", 3, "folder: cannot read it: Is a directory"),
    ("in -r one", 3, "in has 2 lines, one 1"),
    ("empty -r empty", 3, "empty and empty are empty"),
    ("utf16 -r ref", 3, "utf16: is UTF-16 text"),
    ("in -r ref --metric blue", 2, "unknown metric 'blue'"),
    ("in -r ref --at-least bleu=101", 5, "below 101"),
    ("in -r ref --metric bleu --at-least chrf=50", 2, "chrf is not among those scored\nhint: add it to --metric"),
    ("in -r ref --at-least bleu=1,comet=0.8", 2, "comet is not among those scored"),
    ("in -r ref --at-least ter=50", 2, "a lower TER is a better one\nhint: name bleu or chrf"),
    ("in -r ref --metric bleu --at-least ter=50", 2, "--at-least ter=50: a lower TER is a better one"),
    ("in -r ref --report folder", 2, "folder: cannot write: is a directory"),
    ("-m run --source in", 2, "give both sides"),
    ("-m run --source in --target one", 3, "in has 2 lines, one 1"),
    ("in --gold-alignment ref", 3, "ref, line 1: one is not a link"),
]


@pytest.fixture(scope="module")
def place(trained, tmp_path_factory):
    """A directory with good files and bad ones."""
    folder = tmp_path_factory.mktemp("place")
    model = find_model(trained)
    for name in ("run", "no-weights", "no-tokenizer", "cut"):
        shutil.copytree(model, folder / name)
    (folder / "no-weights" / "model.safetensors").unlink()
    (folder / "no-tokenizer" / "tokenizer.model").unlink()
    (folder / "cut" / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:1000])
    (folder / "folder").mkdir()
    texts = {"in": b"one two\nthree\n", "ref": b"one two\nthree\n", "one": b"one\n", "terms": b"no tab\n", "empty": b""}
    texts |= {"nul": b"one\0two\n", "utf16": "one\n".encode("utf-16"), "packed": gzip.compress(b"one\n")}
    texts |= {"array": b'[{"source": "one"}, {"source": "two"}]\n', "pretty": b'[\n  {"source": "one"}\n]\n'}
    for name, content in texts.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("verb", "options", "code", "words"),
    [pytest.param(verb, *case, id=f"{verb} {case[0]}") for verb in ("translate", "score")
     for case in (TRANSLATE if verb == "translate" else SCORE)],
)  # fmt: skip
def test_user_errors_are_one_line_and_an_exit_code(place, monkeypatch, capfd, verb, options, code, words):
    monkeypatch.chdir(place)
    before = sorted(place.iterdir())
    assert nmt(verb, *options.split()) == code
    out, told = capfd.readouterr()
    assert words in told
    if code == 2:
        assert (out, sorted(place.iterdir())) == ("", before)
    assert "Traceback" not in told and "bug" not in told
    assert sum(line.startswith("error: ") for line in told.splitlines()) == (code != 0)


@pytest.mark.parametrize(("stream", "words"), [("stdin", "-i FILE"), ("stdout", "-o FILE")])
def test_closed_standard_streams_are_user_errors(place, monkeypatch, capsys, stream, words):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, stream, None)
    assert nmt("translate", "-m", "run", *(["-o", "out"] if stream == "stdin" else ["-i", "in"])) == 3
    assert words in capsys.readouterr().err


# as PyTorch, NumPy, ONNX Runtime, CTranslate2 and the system say it
ALLOCATIONS = [
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 9"),
    MemoryError("Unable to allocate 9.00 GiB for an array with shape (9, 9) and data type float32"),
    MemoryError(),
    RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 9"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA failed with error out of memory"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
FUNCTIONS = {
    "prepare": "nmtcli.prepare.prepare.prepare",
    "train": "nmtcli.train.train.train",
    "translate": "nmtcli.translate.translate.translate_file",
    "score": "nmtcli.score.scoring.score",
    "export": "nmtcli.export.exporter.export",
}


@pytest.mark.parametrize("error", ALLOCATIONS, ids=str)
@pytest.mark.parametrize("verb", FUNCTIONS)
def test_out_of_memory_gives_exit_code_4_for_every_verb(place, monkeypatch, capsys, verb, error):
    def fail(*_, **__):
        raise error

    monkeypatch.chdir(place)
    monkeypatch.setattr(FUNCTIONS[verb], fail)
    commands = {"train": "train folder -o new", "translate": "translate -m run -i in", "score": "score in -r ref"}
    commands |= {"prepare": "prepare --train in --valid ref -o new", "export": "export run -o new"}
    assert nmt(*commands[verb].split()) == 4
    words = capsys.readouterr().err
    assert "error: out of memory" in words and "hint: " in words
    assert "bug in nmt" not in words and "Traceback" not in words


def test_missing_package_error_names_what_to_install():
    for name, words in (("torch", "pip install torch; without it nmt translates exports"), ("datasets.x", "nmtcli")):
        found = _explain(ModuleNotFoundError(name=name))
        assert f"the package {name.partition('.')[0]} is not installed" in found.message
        assert words in found.hint
        assert found.exit_code == 2


def test_a_rank_of_another_program_says_what_is_wrong(monkeypatch, capsys, tmp_path):
    """Only ranks of nmt train leave their messages to the first one."""
    monkeypatch.setenv("LOCAL_RANK", "1")
    translate = ["translate", "-m", str(tmp_path / "none")]
    train = ["train", str(tmp_path / "none"), "-o", str(tmp_path / "run")]
    for command, words in ((translate, "no such model"), (train, "")):
        monkeypatch.setattr(sys, "argv", ["nmt", "--traceback", *command])
        assert nmt(*command) == 3
        told = capsys.readouterr().err
        assert words in told and bool(told) == bool(words)


def test_a_working_directory_that_is_gone_is_no_bug(monkeypatch, capsys, tmp_path, data):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in (["train", data, "-o", "run"], ["demo", "-o", "run"], ["translate", "-m", data, "-o", "out"]):
        assert nmt(*command) in {2, 3}
        assert "bug" not in capsys.readouterr().err

"""Paths are literal, no input file is written while it is read, and printed commands can be pasted."""

import errno
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nmtcli.data.files import File
from nmtcli.errors import DataError, ResourceError, UserError
from nmtcli.paths import PIPE, quoted, require_apart
from tests.conftest import nmt, prepare_arguments


@pytest.fixture
def text(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("one two\n" * 50, "utf-8")
    return Path("text")


def linked(text: Path, how: str) -> Path:
    """The file under another name."""
    other = Path(f"{how}.html")
    if how == "hard":
        os.link(text, other)
    elif how == "symbolic":
        other.symlink_to(text)
    elif how == "dotted":
        return Path("..") / Path.cwd().name / text
    return other


@pytest.mark.parametrize("how", ["same", "hard", "symbolic", "dotted"])
def test_an_output_that_is_an_input_is_refused_under_any_name(text, how):
    other = text if how == "same" else linked(text, how)
    with pytest.raises(UserError, match=r"given twice|is the same file as text"):
        require_apart([text], [other])
    with pytest.raises(UserError, match=r"given twice|is the same file as text"):
        require_apart([], [text, other])
    require_apart([text, other], [Path("new")])


def test_outputs_that_do_not_exist_yet_are_compared_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("dangling").symlink_to("new")
    Path("folder").mkdir()
    for other in ("./new", "folder/../new", "dangling"):
        with pytest.raises(UserError, match="new"):
            require_apart([], [Path("new"), Path(other)])
    require_apart([], [Path("new"), Path("folder/new"), Path("newer")])


def test_pipes_and_devices_may_be_given_twice(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    require_apart([Path(os.devnull), tmp_path / "pipe"], [Path(os.devnull), tmp_path / "pipe", tmp_path])


@pytest.mark.parametrize("mode", ["r+b", "ab"])
def test_standard_input_and_output_are_compared(text, mode, monkeypatch):
    with text.open("rb") as reading, text.open(mode) as writing:
        monkeypatch.setattr(sys, "stdin", reading)
        monkeypatch.setattr(sys, "stdout", writing)
        for inputs, outputs in (([PIPE], [text]), ([text], [PIPE]), ([PIPE], [PIPE])):
            with pytest.raises(UserError, match=r"same file|given twice"):
                require_apart(inputs, outputs)
        require_apart([PIPE], [Path("new")])
    monkeypatch.setattr(sys, "stdin", None)
    require_apart([PIPE], [text])


@pytest.mark.parametrize("how", ["hard", "symbolic"])
@pytest.mark.parametrize(
    "command",
    [
        "translate -m MODEL -i text -o LINK",
        "translate -m MODEL -i text --alignment LINK",
        "translate -m MODEL -i text --attention LINK",
        "translate -m MODEL --terminology text -o LINK",
        "translate -m MODEL --ban text -o LINK",
        "translate -m MODEL --dictionary text -o LINK",
        "score text -r reference --report LINK",
        "score reference -r text --report LINK",
        "score reference -r reference --source text --report LINK",
        "score reference -r reference --train-target text --report LINK",
        "prepare --dry-run --train-source text --train-target reference --valid reference.tsv --report LINK",
        "prepare --dry-run --train reference.tsv --valid text --report LINK",
    ],
)
def test_no_command_overwrites_its_inputs(text, how, command, trained, capsys):
    other = linked(text, how)
    Path("reference").write_text("one two\n" * 50, "utf-8")
    Path("reference.tsv").write_text("one\ttwo\n" * 50, "utf-8")
    before = text.read_bytes()
    words = [{"MODEL": trained, "LINK": other}.get(word, word) for word in command.split()]
    assert nmt(*words) == 2
    assert "same file" in capsys.readouterr().err
    assert text.read_bytes() == before


def test_the_progress_file_is_compared_as_an_output(text, trained, capsys):
    text.rename("out.progress")
    assert nmt("translate", "-m", trained, "-i", "out.progress", "-o", "out") == 2
    assert "out.progress: given twice" in capsys.readouterr().err
    assert Path("out.progress").read_text("utf-8") == "one two\n" * 50


def test_translate_does_not_overwrite_its_model(text, trained, capsys):
    trained = Path(shutil.copytree(trained, "run"))
    for file in ("config.yaml", "checkpoints/step-0000012/model.safetensors"):
        before = (trained / file).read_bytes()
        assert nmt("translate", "-m", trained, "-i", text, "-o", trained / file) == 2
        assert "given twice" in capsys.readouterr().err
        assert (trained / file).read_bytes() == before


STRANGE = ["d[1].tsv", "a*b.tsv", "x::y.tsv", "zip::z.tsv", "100%.tsv", "{a,b}.tsv", "a?b.tsv", "with blank.tsv"]


@pytest.mark.parametrize("ending", ["tsv", "jsonl", "csv", "parquet"])
@pytest.mark.parametrize("name", STRANGE)
def test_file_names_are_no_glob_patterns(name, ending, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    from tests.prepare.test_readers import open_corpus, pairs_of

    contents = {
        "tsv": b"right\trecht\n",
        "jsonl": b'{"source": "right", "target": "recht"}\n',
        "csv": b"source,target\nright,recht\n",
    }
    path = tmp_path / name.replace("tsv", ending)
    (tmp_path / f"d1.{ending}").write_bytes(b"wrong\twrong\n")
    (tmp_path / f"acb.{ending}").write_bytes(b"wrong\twrong\n")
    if ending == "parquet":
        pa.parquet.write_table(pa.table({"source": ["right"], "target": ["recht"]}), path)
    else:
        path.write_bytes(contents[ending])
    assert pairs_of(open_corpus(tmp_path, path=str(path)).reader) == [("right", "recht")]


def test_an_existing_file_is_not_read_as_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("memory:").mkdir()
    Path("memory:/text").write_text("here\n", "utf-8")
    assert File.fetch("memory://text", tmp_path).path.read_text("utf-8") == "here\n"


def test_a_full_disk_while_a_file_is_downloaded_is_no_error_of_the_data(tmp_path, monkeypatch):
    def get_file(remote, local):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nmtcli.data.files._file_system", lambda name: (SimpleNamespace(get_file=get_file), name))
    with pytest.raises(ResourceError, match=r"https://x/y: cannot download: No space left on device"):
        File.fetch("https://x/y", tmp_path)


def test_a_url_is_one_file(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in ("a1", "a[1]", "a*", "x::y"):
        (folder / name).write_text(name, "utf-8")
    for name in ("a[1]", "a*", "x::y"):
        assert File.fetch(f"file://{folder}/{name}", tmp_path).path.read_text("utf-8") == name
    with pytest.raises(DataError, match=r"zip://a::b\.zip: (cannot download|no such file)"):
        File.fetch("zip://a::b.zip", tmp_path)


@pytest.mark.parametrize("name", ["a b", "-o", "--help", "it's", "$HOME", "a;b", "données", "x", "*", "~"])
def test_a_printed_path_can_be_pasted(name):
    (word,) = shlex.split(quoted(Path(name)))
    assert Path(word) == Path(name)
    assert not word.startswith("-")
    assert quoted("plain/name-1.txt") == "plain/name-1.txt"


def test_the_next_command_can_be_pasted(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    output = Path("-my data")
    assert nmt(*prepare_arguments(corpus, output)) == 0
    said = capsys.readouterr().err
    assert "next: nmt train './-my data' -o RUN" in said

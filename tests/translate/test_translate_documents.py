"""Documents, translation memories and folders through `nmt translate`."""

import json
import re
import signal
import subprocess
import sys

import pytest

from nmtcli.documents.formats import open_document
from nmtcli.translate import segments as windows
from tests.conftest import nmt

FILES = {
    "a.srt": "1\n00:00:01,000 --> 00:00:02,000\nOne two\nthree.\n\n2\n00:00:03,000 --> 00:00:04,500\nFour.\n",
    "b.md": "# One\n\nTwo *three* `four` five.\n\n```\ncode six\n```\n",
    "sub/c.html": "<html><body><p>One <b>two</b>.</p>\n<pre>three</pre></body></html>\n",
    "d.po": 'msgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\nmsgid "one {0}"\nmsgstr ""\n',
    "e.txt": "one two\n\nthree\n",
    "empty.txt": "",
    "picture.bin": "x",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "in"


def command(model, source, output, *options):
    return ["translate", "-m", model, "-i", source, "-o", output, "-b", "1", "--max-length-factor", "1", *options]


def test_a_document_keeps_all_but_its_text(trained, folder, tmp_path, capsys):
    for name in ("a.srt", "b.md", "sub/c.html", "d.po"):
        out = tmp_path / f"out{(folder / name).suffix}"
        assert nmt(*command(trained, folder / name, out)) == 0
        before, after = (open_document(path).segments for path in (folder / name, out))
        assert name in {"a.srt", "d.po"} or len(before) == len(after)
        assert not list(tmp_path.glob("*.lines")) and not list(tmp_path.glob("*.progress"))
    assert re.findall(r"\d\d:.*", (tmp_path / "out.srt").read_text()) == re.findall(r"\d\d:.*", FILES["a.srt"])
    assert "`four`" in (tmp_path / "out.md").read_text() and "\ncode six\n" in (tmp_path / "out.md").read_text()
    html = (tmp_path / "out.html").read_text()
    assert "<pre>three</pre>" in html and html.count("<b>") == html.count("</b>") == 1
    assert "#, fuzzy" in (tmp_path / "out.po").read_text()
    capsys.readouterr()


def test_a_document_goes_to_stdout(trained, folder, tmp_path, capfdbinary):
    assert nmt(*command(trained, folder / "b.md", tmp_path / "out.md")) == 0
    capfdbinary.readouterr()
    assert nmt(*command(trained, folder / "b.md", "-")) == 0
    assert capfdbinary.readouterr().out == (tmp_path / "out.md").read_bytes()


def test_segments_of_a_document_as_json_lines(trained, folder, tmp_path):
    assert nmt(*command(trained, folder / "a.srt", tmp_path / "out", "--format", "jsonl")) == 0
    records = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [record["source"].split() for record in records] == [["One", "two", "three."], ["Four."]]


def test_a_translation_memory(trained, folder, tmp_path):
    from nmtcli.prepare.readers.tmx import Tmx  # noqa: F401 - the reader of nmt prepare

    for name in ("e.txt", "sub/c.html"):
        assert nmt(*command(trained, folder / name, tmp_path / "out.tmx", "--format", "tmx")) == 0
        text = (tmp_path / "out.tmx").read_text()
        assert text.count("<tu>") == (2 if name == "e.txt" else 1)
        assert "<bpt" in text or name == "e.txt"
    assert nmt(*command(trained, folder / "e.txt", tmp_path / "x", "--format", "tmx", "--n-best", "2")) == 2


def test_a_folder_of_mixed_files(trained, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert nmt(*command(trained, folder, out)) == 0
    words = capsys.readouterr().err
    assert "1 other files are left out: 1 .bin" in words
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()) == sorted(
        name for name in FILES if name != "picture.bin"
    )
    assert (out / "e.txt").read_text().count("\n") == 3 and (out / "empty.txt").read_text() == ""
    assert not list(tmp_path.glob("out.progress"))
    again = tmp_path / "again"
    assert nmt(*command(trained, folder, again, "--processes", "2")) == 0
    for path in (path for path in out.rglob("*") if path.is_file()):
        assert path.read_bytes() == (again / path.relative_to(out)).read_bytes()


def test_an_interrupted_folder_is_resumed(trained, folder, tmp_path, capsys, monkeypatch):
    from nmtcli.translate import folder as module

    whole, out = tmp_path / "whole", tmp_path / "out"
    assert nmt(*command(trained, folder, whole)) == 0
    translate, calls = module.translate_one, []

    def broken(options, *rest):
        calls.append(options.source.name)
        if len(calls) == 3:
            raise OSError(28, "No space left on device", "x")
        return translate(options, *rest)

    monkeypatch.setattr(module, "translate_one", broken)
    assert nmt(*command(trained, folder, out)) != 0
    capsys.readouterr()
    assert nmt(*command(trained, folder, out)) == 2
    assert "resume with --resume" in capsys.readouterr().err
    assert nmt(*command(trained, folder, out, "--resume", "-b", "2")) == 2
    assert "was started with beam_size" in capsys.readouterr().err
    calls[:] = ["", "", "", ""]
    assert nmt(*command(trained, folder, out, "--resume")) == 0
    assert calls[4:] == ["e.txt", "empty.txt", "c.html"] or calls[4:] == ["d.po", "e.txt", "empty.txt", "c.html"]
    for path in (path for path in whole.rglob("*") if path.is_file()):
        assert path.read_bytes() == (out / path.relative_to(whole)).read_bytes()


@pytest.mark.parametrize("suffix", [".srt", ".txt"])
def test_a_folder_does_not_overwrite_an_interrupted_file(trained, folder, tmp_path, capsys, suffix):
    source = next(path for path in sorted(folder.rglob("*")) if path.suffix == suffix)
    target = tmp_path / "out" / source.relative_to(folder)
    target.parent.mkdir(parents=True)
    record = target.with_name(f"{target.name}.progress")
    record.write_text("of a translation that was interrupted")
    assert nmt(*command(trained, folder, tmp_path / "out")) == 2
    assert f"{target}: the translation was interrupted" in capsys.readouterr().err
    assert record.exists() and not target.exists()
    assert nmt(*command(trained, folder, tmp_path / "out", "--overwrite")) == 0
    assert target.exists() and not record.exists()


def test_a_resumed_folder_tells_of_all_its_files(trained, tmp_path, capsys, monkeypatch):
    from nmtcli.translate import folder as module

    (tmp_path / "in").mkdir()
    for name in ("a.txt", "b.txt"):
        (tmp_path / "in" / name).write_text('{"source": "one"}\n{"sourc": 1}\n')
    translate = module.translate_one

    def broken(options, *rest):
        if options.source.name == "b.txt":
            raise OSError(28, "No space left on device", "x")
        return translate(options, *rest)

    monkeypatch.setattr(module, "translate_one", broken)
    assert nmt(*command(trained, tmp_path / "in", tmp_path / "out")) == 4
    monkeypatch.setattr(module, "translate_one", translate)
    capsys.readouterr()
    assert nmt(*command(trained, tmp_path / "in", tmp_path / "out", "--resume")) == 3
    words = capsys.readouterr().err
    assert "a.txt, line 2: not a JSON object" in words and "b.txt, line 2: not a JSON object" in words


def test_an_interrupted_document_is_resumed_with_the_same_bytes(trained, tmp_path, monkeypatch):
    source = tmp_path / "in.md"
    source.write_text("\n\n".join(f"One two *three* {number}." for number in range(30)))
    assert nmt(*command(trained, source, tmp_path / "whole.md")) == 0
    monkeypatch.setattr(windows, "MAX_LINES", 7)
    assert nmt(*command(trained, source, tmp_path / "small.md")) == 0
    script = (
        "import os, signal, sys\nfrom nmtcli.translate import segments, outputs\nfrom nmtcli.cli import run\n"
        "segments.MAX_LINES = 7\noutputs._EVERY = 0\nwrite = outputs.OutputFiles.write\ndone = []\n"
        "def killed(self, window):\n    result = write(self, window)\n    done.append(1)\n"
        "    if len(done) == 2:\n        os.kill(os.getpid(), signal.SIGKILL)\n    return result\n"
        "outputs.OutputFiles.write = killed\nsys.exit(run(sys.argv[1:]))\n"
    )
    options = list(map(str, command(trained, source, tmp_path / "out.md")))
    killed = subprocess.run([sys.executable, "-c", script, *options], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out.md.progress").exists() and (tmp_path / "out.md.lines").exists()
    assert nmt(*command(trained, source, tmp_path / "out.md", "--resume")) == 0
    assert (tmp_path / "out.md").read_bytes() == (tmp_path / "small.md").read_bytes()
    assert not (tmp_path / "out.md.lines").exists()


BROKEN = {
    "a.srt": "1\n00:00:01,000 -> x\nOne\n",
    "c.html": "<p>One <b",
    "d.po": 'msgid "one\n',
    "e.xlf": "<xliff><file>",
}


def test_every_broken_document_is_named_before_any_work(trained, folder, tmp_path, capsys):
    for name, text in BROKEN.items():
        (folder / name).write_text(text)
        assert nmt(*command(trained, folder / name, tmp_path / "x")) == 3
        message = capsys.readouterr().err
        assert re.search(rf"{re.escape(name)}:\d+: ", message) and "Traceback" not in message
    (folder / "z.txt").write_bytes("One.\n".encode("utf-16"))
    (folder / "empty.md").touch()
    assert nmt(*command(trained, folder, tmp_path / "out")) == 3
    message = capsys.readouterr().err
    assert all(name in message for name in [*BROKEN, "z.txt: is UTF-16"])
    assert "empty.md" not in message
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be(trained, folder, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    (tmp_path / "bare").mkdir()
    for output, options, message in (
        ("-", [], "a folder needs an output folder"),
        (tmp_path / "file", [], "is a file"),
        (folder / "out", [], "lies in the input folder"),
        (tmp_path / "out", ["--format", "jsonl"], "a folder excludes"),
    ):
        assert nmt(*command(trained, folder, output, *options)) == 2
        assert message in capsys.readouterr().err
    assert nmt(*command(trained, tmp_path / "bare", tmp_path / "out")) == 2
    assert "has no file to translate" in capsys.readouterr().err


def test_what_is_not_translated_keeps_its_text(trained, tmp_path, capsys):
    (tmp_path / "in.md").write_text("One two three four five six seven.\n\nOne.\n")
    options = ["--long-lines", "refuse", "--max-source-tokens", "6"]
    assert nmt(*command(trained, tmp_path / "in.md", tmp_path / "out.md", *options)) == 3
    assert "line 1: more than 6 tokens, not translated" in capsys.readouterr().err
    assert (tmp_path / "out.md").read_text().startswith("One two three four five six seven.\n\n")


@pytest.mark.parametrize("link", ["hard link", "symbolic link"])
@pytest.mark.parametrize("name", ["e.txt", "b.md"])
def test_a_folder_of_links_to_the_input_is_refused(trained, folder, tmp_path, capsys, link, name):
    """Before any file is written: the input would be lost."""
    target = tmp_path / "out" / name
    target.parent.mkdir()
    (target.hardlink_to if link == "hard link" else target.symlink_to)(folder / name)
    assert nmt(*command(trained, folder, tmp_path / "out")) == 2
    assert "is the same file as" in capsys.readouterr().err
    assert (folder / name).read_text() == FILES[name]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_folder_is_translated_into_the_working_directory(trained, folder, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert nmt(*command(trained, folder, ".")) == 0
    assert (tmp_path / "out" / "e.txt").read_text().count("\n") == 3


def test_a_file_named_like_the_collected_lines_is_kept(trained, folder, tmp_path, capsys):
    mine = tmp_path / "out.md.lines"
    mine.write_text("mine")
    assert nmt(*command(trained, folder / "b.md", tmp_path / "out.md")) == 2
    assert "out.md.lines: exists" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert nmt(*command(trained, folder / "b.md", tmp_path / "out.md", "--overwrite")) == 0


@pytest.mark.parametrize("option", [["--stream"], ["--input-format", "text"]])
def test_options_for_lines_are_refused_for_a_document(trained, folder, tmp_path, capsys, option):
    assert nmt(*command(trained, folder / "b.md", tmp_path / "out.md", *option)) == 2
    assert "which --stream and --input-format exclude" in capsys.readouterr().err
    assert not (tmp_path / "out.md").exists()

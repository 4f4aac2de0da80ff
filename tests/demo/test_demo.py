"""`nmt demo`: the five verbs as typed, from nothing to a model."""

import re

from nmtcli.translate.translator import Translator
from tests.conftest import TINY, nmt, overrides


def test_the_demo_runs_all_commands_and_resumes(tmp_path, capsys):
    output = tmp_path / "demo"
    command = ("demo", "-o", output, "--pairs", "2000", *overrides(*TINY))
    assert nmt(*command) == 0
    shown = capsys.readouterr()
    assert re.findall(r"^\$ nmt (\w+)", shown.err, re.MULTILINE) == ["prepare", "train", "translate", "score", "export"]
    source = (output / "text" / "test.en").read_text("utf-8").splitlines()
    assert len((output / "test.ko").read_text("utf-8").splitlines()) == len(source)
    assert source[0] in shown.out
    assert (output / "attention.html").exists()
    assert len(Translator.load(output / "model", "cpu").translate(source[:2])) == 2
    assert nmt(*command) == 0  # all is there
    assert "export" not in re.findall(r"^\$ nmt (\w+)", capsys.readouterr().err, re.MULTILINE)


def test_a_failing_command_ends_the_demo_with_its_exit_code(tmp_path, capsys):
    assert nmt("demo", "-o", tmp_path / "demo", "--pairs", "2000", "--set", "train.no_such=1") == 2
    assert "train.no_such" in capsys.readouterr().err
    assert not (tmp_path / "demo" / "run").exists()


def test_printed_demo_commands_are_valid_shell(tmp_path, capsys):
    """What is shown after `$` is the command: another shell gets the same arguments."""
    output = tmp_path / "a folder"
    assert nmt("demo", "-o", output, "--pairs", "2000", "--set", "train.no_such=1") == 2
    assert f"'{output / 'data'}'" in capsys.readouterr().err

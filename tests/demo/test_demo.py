"""`nmt demo`: prepare, train, translate, score and export on the phrasebook."""

import io
import re
import shlex
import shutil
from contextlib import redirect_stderr

import pytest

from nmtcli.checkpoint import REPORT, find_model, read_json
from nmtcli.translate.translator import Translator
from tests.conftest import TINY, nmt, overrides


@pytest.fixture(scope="module")
def failed(one_phrasebook, tmp_path_factory):
    """A demo that ends in nmt train: its directory and what it printed."""
    output = tmp_path_factory.mktemp("demo") / "a folder"
    with redirect_stderr(io.StringIO()) as printed:
        assert nmt("demo", "-o", output, "--pairs", "6000", "--set", "train.no_such=1") == 2
    return output, printed.getvalue()


def test_the_demo_runs_all_commands_and_resumes(failed, tmp_path, capsys):
    output = shutil.copytree(failed[0], tmp_path / "demo")
    command = ("demo", "-o", output, "--pairs", "6000", *overrides(*TINY, "train.valid_metric=loss"))
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
    best = find_model(output / "run").name
    assert nmt(*command, *overrides("train.max_updates=24")) == 0  # the training goes on: another export
    assert find_model(output / "run").name != best
    assert read_json(output / "model" / REPORT)["checkpoints"] == [find_model(output / "run").name]


def test_a_failing_command_ends_the_demo_with_its_exit_code(failed):
    output, printed = failed
    assert re.findall(r"^\$ nmt (\w+)", printed, re.MULTILINE) == ["prepare", "train"]
    assert "train.no_such" in printed
    assert not (output / "run").exists()


def test_printed_demo_commands_are_valid_shell(failed):
    """What is shown after `$` is the command: another shell gets the same arguments."""
    output, printed = failed
    prepare, train = (shlex.split(command) for command in re.findall(r"^\$ (.*)", printed, re.MULTILINE))
    assert prepare[:4] == ["nmt", "prepare", "-o", str(output / "data")]
    assert train[:5] == ["nmt", "train", str(output / "data"), "-o", str(output / "run")]
    assert train[-2:] == ["--set", "train.no_such=1"]

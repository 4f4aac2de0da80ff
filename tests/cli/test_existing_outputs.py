"""Existing outputs of each command: replaced, kept or refused as the table of docs/exit-codes.md says."""

from pathlib import Path

import pytest

from tests.conftest import TINY, nmt, overrides, prepare_arguments


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def other(tmp_path) -> Path:
    """A directory with a file of the user's."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    return folder


def test_prepare_does_not_overwrite_a_directory(corpus, data, other):
    before = contents(data)
    assert nmt(*prepare_arguments(corpus, data)) == 0
    assert nmt(*prepare_arguments(corpus, data), "--set", "data.seed=7") == 2
    assert contents(data) == before
    assert nmt(*prepare_arguments(corpus, other)) == 2
    assert contents(other) == {"thesis.txt": b"precious"}


def test_train_does_not_overwrite_another_run_or_directory(data, trained, other):
    before = contents(trained)
    assert nmt("train", data, "-o", trained, "--device", "cpu", *overrides(*TINY, "model.dropout=0.5")) == 2
    assert contents(trained) == before
    assert nmt("train", data, "-o", other, "--device", "cpu", *overrides(*TINY)) == 2
    assert contents(other) == {"thesis.txt": b"precious"}


def test_export_does_not_overwrite_a_model_or_file(trained, onnx, other):
    for place in (onnx, other):
        before = contents(place)
        assert nmt("export", trained, "-o", place) == 2
        assert contents(place) == before


def test_an_existing_page_is_replaced_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("hypothesis", "reference"):
        Path(name).write_text("a cat sat on the mat\n" * 3)
    Path("page.html").write_text("an earlier page")
    assert nmt("score", "hypothesis", "-r", "reference", "--report", "page.html") == 0
    assert Path("page.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hypothesis", "page.html", "reference"]


@pytest.mark.parametrize("name", ["recipe.yaml", "text/train.en"])
def test_demo_does_not_overwrite_a_changed_file(tmp_path, name, capsys):
    arguments = ["demo", "-o", tmp_path / "demo", "--text-only", "--pairs", "6000"]
    assert nmt(*arguments) == 0
    assert nmt(*arguments) == 0  # the same text again
    (tmp_path / "demo" / name).write_text("mine")
    assert nmt(*arguments) == 2
    assert "its content is not what this command writes" in capsys.readouterr().err
    assert (tmp_path / "demo" / name).read_text() == "mine"


def test_demo_translates_again_where_it_was_interrupted(tmp_path, monkeypatch):
    """`nmt translate` refuses an unfinished output, and demo has no option for it."""
    commands = []

    def run(arguments):
        commands.append(arguments)
        return 5 if arguments[0] == "score" else 0

    monkeypatch.setattr("nmtcli.cli.run", run)
    assert nmt("demo", "-o", tmp_path / "demo", "--pairs", "6000") == 5
    assert [command[0] for command in commands] == ["prepare", "train", "translate", "score"]
    assert "--overwrite" in commands[2]

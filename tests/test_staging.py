"""Files and directories that appear whole or not at all."""

from pathlib import Path

import pytest

from nmtcli.errors import ResourceError, UserError
from nmtcli.staging import staged, write_whole


def test_a_staged_directory_appears_at_the_end(tmp_path):
    with staged(tmp_path / "made") as directory:
        (directory / "file").write_text("x")
        assert not (tmp_path / "made").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "file"]


@pytest.mark.parametrize(("error", "becomes"), [(OSError(28, "full"), ResourceError), (OSError(13, "no"), UserError)])
def test_a_failed_block_leaves_nothing_and_raises_a_user_error(tmp_path, error, becomes):
    with pytest.raises(becomes), staged(tmp_path / "made") as directory:
        (directory / "half").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / ".made.partial").mkdir()
    (tmp_path / ".made.partial" / "half").write_text("x")
    with staged(tmp_path / "made") as directory:
        (directory / "file").write_text("y")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "made"]


def test_a_file_keeps_its_old_content_until_the_new_is_whole(tmp_path):
    write_whole(tmp_path / "file", b"old")
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    (tmp_path / ".file.partial").mkdir()  # the way is blocked
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "file", b"newer")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_directory_that_cannot_be_replaced_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is the working directory"), staged(Path()):
        raise AssertionError
    with pytest.raises(UserError, match="is a mount point"), staged(Path("/proc")):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "file").chmod(0o600)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600

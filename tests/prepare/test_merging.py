"""Data prepared apart and merged is the data prepared together."""

import datasets
import numpy as np
import pytest

from nmtcli.data.directory import open_data
from tests.conftest import TINY, nmt, overrides


@pytest.fixture(scope="module")
def parts(corpus, data, tmp_path_factory):
    """The tiny corpus in three parts, and whole, all with one tokenizer."""
    folder = tmp_path_factory.mktemp("parts")
    sides = [(corpus / f"train.{side}").read_text().splitlines(keepends=True) for side in ("words", "digits")]
    made = []
    for name, rows in (("a", slice(100)), ("b", slice(100, 250)), ("c", slice(250, 400)), ("all", slice(400))):
        for side, lines in zip(("words", "digits"), sides, strict=True):
            (folder / f"t.{side}").write_text("".join(lines[rows]))
        train = ["--train-source", folder / "t.words", "--train-target", folder / "t.digits"]
        valid = ["--valid-source", corpus / "valid.words", "--valid-target", corpus / "valid.digits"]
        assert nmt("prepare", "-o", folder / name, *train, *valid, "--tokenizer", data) == 0
        made.append(folder / name)
    return made


def merge(output, *parts):
    return nmt("prepare", "-o", output, *(part for path in parts for part in ("--merge", path)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_merged_data_equals_data_prepared_together(parts, tmp_path, capsys):
    *pieces, whole = parts
    output = tmp_path / "data"
    assert merge(output, *pieces) == 0
    assert "400 training pairs of 3 parts" in capsys.readouterr().err
    merged, expected = open_data(output), open_data(whole)
    rows = np.arange(400)
    for one, other in zip(merged.train.gather(rows), expected.train.gather(rows), strict=True):
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.lengths, other.lengths)
    assert merged.manifest.train == expected.manifest.train
    assert merged.valid.texts() == expected.valid.texts()
    assert [corpus.pairs for corpus in merged.manifest.corpora] == [100, 150, 150]
    assert len(datasets.load_from_disk(str(output / "train"))) == 400
    before = (output / "manifest.json").read_bytes()
    assert merge(output, *pieces) == 0
    assert (output / "manifest.json").read_bytes() == before
    assert merge(output, *pieces[::-1]) == 2
    settings = [*TINY, "train.max_updates=2", "train.corpus_weights.t=0.5"]
    assert nmt("train", output, "-o", tmp_path / "run", *overrides(*settings)) == 0


def test_data_of_other_settings_is_not_merged(parts, corpus, data, tmp_path, capsys):
    assert merge(tmp_path / "x", parts[0], corpus) == 3
    assert "not a data directory" in capsys.readouterr().err
    train = ["--train-source", corpus / "train.words", "--train-target", corpus / "train.digits"]
    valid = ["--valid-source", corpus / "valid.words", "--valid-target", corpus / "valid.digits"]
    assert nmt("prepare", "-o", tmp_path / "bpe", *train, *valid, "--vocab-size", "290") == 0
    assert merge(tmp_path / "x", parts[0], tmp_path / "bpe") == 2
    assert "its tokenizer differs from that of" in capsys.readouterr().err
    more = ["--set", "data.cleaning.max_tokens=99", "--tokenizer", data]
    assert nmt("prepare", "-o", tmp_path / "short", *train, *valid, *more) == 0
    assert merge(tmp_path / "x", parts[0], tmp_path / "short") == 2
    assert "prepared with other settings" in capsys.readouterr().err
    more = ["--train-source", corpus / "valid.words", "--train-target", corpus / "valid.digits"]
    other = ["--valid-source", corpus / "train.words", "--valid-target", corpus / "train.digits"]
    free = ["--set", "data.cleaning.held_out=false", "--tokenizer", data]
    for name, text in (("one", (*more, *valid)), ("two", (*more, *other))):
        assert nmt("prepare", "-o", tmp_path / name, *text, *free) == 0
    assert merge(tmp_path / "x", tmp_path / "one", tmp_path / "two") == 2
    assert "its validation text differs from that of" in capsys.readouterr().err
    assert merge(tmp_path / "x", parts[0], parts[1], parts[0]) == 2
    assert "its training text is also in" in capsys.readouterr().err
    assert merge(tmp_path / "merged", *parts) == 0
    for again in ((tmp_path / "merged", parts[1]), (parts[1], tmp_path / "merged")):  # it is a part of merged data
        capsys.readouterr()
        assert merge(tmp_path / "x", *again) == 2
        assert f"{again[1]}: its training text is also in {again[0]}" in capsys.readouterr().err
    drawn = [*train, *valid, "--tokenizer", data, "--hold-out-test", "5"]
    assert nmt("prepare", "-o", tmp_path / "drawn", *drawn) == 0
    assert merge(tmp_path / "x", tmp_path / "drawn", parts[0]) == 2
    assert "prepared with --hold-out-test" in capsys.readouterr().err
    assert nmt("prepare", "--merge", parts[0]) == 2
    assert nmt("prepare", "-o", tmp_path / "x", "--merge", parts[0], "--dry-run") == 2
    assert nmt("prepare", "-o", tmp_path / "x", "--merge", parts[0], *train) == 2
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("option", [["--separate"], ["--joint"], ["--vocab-size", "50"], ["-s", "en"]])
def test_options_that_merge_does_not_use_are_refused(option, tmp_path, capsys):
    assert nmt("prepare", "-o", tmp_path / "all", "--merge", tmp_path / "part", *option) == 2
    assert "--merge" in capsys.readouterr().err

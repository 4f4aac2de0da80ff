"""The share of training sources with several sentences, from the data to every model."""

import json

from nmtcli.checkpoint import INFO, find_model, read_info
from nmtcli.data.directory import Manifest, open_data
from nmtcli.prepare.report.report import Report
from tests.conftest import nmt


def prepare(folder, name, several):
    lines = [f"The dog sees number {n} now." + " It is big." * (n < several) for n in range(40)]
    (folder / f"{name}.tsv").write_text("".join(f"{line}\t{line[::-1]}\n" for line in lines))
    (folder / "v.tsv").write_text("One cat.\tEine Katze.\n")
    more = ["--tokenizer", folder / "a"] if name != "a" else []
    files = ["--train", folder / f"{name}.tsv", "--valid", folder / "v.tsv", "--vocab-size", "320"]
    assert nmt("prepare", "-o", folder / name, *files, *more) == 0
    return folder / name


def test_the_share_is_in_the_data_and_merged_by_size(tmp_path):
    one, other = prepare(tmp_path, "a", 10), prepare(tmp_path, "b", 30)
    assert Manifest.load(one).several_sentences == Report.load(one).train.several_sentences == 0.25
    assert Report.load(one).valid.several_sentences is None
    assert nmt("prepare", "-o", tmp_path / "both", "--merge", one, "--merge", other) == 0
    assert open_data(tmp_path / "both").manifest.several_sentences == 0.5
    manifest = json.loads((one / "manifest.json").read_text())
    del manifest["several_sentences"]  # as before 0.2.0
    (one / "manifest.json").write_text(json.dumps(manifest))
    assert Manifest.load(one).several_sentences is None
    assert nmt("prepare", "-o", tmp_path / "unknown", "--merge", one, "--merge", other) == 0
    assert Manifest.load(tmp_path / "unknown").several_sentences is None


def test_a_checkpoint_and_an_export_keep_the_share(data, trained, onnx, tmp_path):
    share = Manifest.load(data).several_sentences
    assert share == 0.0
    for directory in (find_model(trained), onnx):
        assert read_info(directory).several_sentences == share
    info = json.loads((onnx / INFO).read_text())
    del info["several_sentences"]
    (tmp_path / INFO).write_text(json.dumps(info))
    assert read_info(tmp_path).several_sentences is None

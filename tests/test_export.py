"""Exports translate like the model they came from, and are refused where they do not."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from nmtcli.checkpoint import find_model, load_model, read_info
from nmtcli.errors import CheckFailed
from nmtcli.export.checking import LEAST_MATCH, Probes
from nmtcli.export.exporter import check_equal
from nmtcli.export.onnx import export_onnx
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.prepare.tokenizer import Tokenizers
from nmtcli.translate.runtimes.onnx import OnnxRuntime
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.translate.translator import Translator
from tests.conftest import model_config, nmt


def test_onnx_scores_pairs_like_pytorch(trained, onnx, corpus, capsys):
    sides = ["--source", corpus / "valid.words", "--target", corpus / "valid.digits", "--device", "cpu"]
    for form in ("tsv", "pharaoh"):
        outputs = []
        for model in (trained, onnx):
            assert nmt("score", "-m", model, *sides, "--format", form) == 0
            outputs.append([line.replace("-", " ").split() for line in capsys.readouterr().out.splitlines()])
        for ours, theirs in zip(*outputs, strict=True):
            assert [float(one) for one in theirs] == pytest.approx([float(one) for one in ours], abs=2e-3)


def test_onnx_translates_like_pytorch_in_batches_of_any_size(trained, onnx):
    ours, theirs = TorchRuntime(load_model(find_model(trained)), torch.device("cpu")), OnnxRuntime(onnx)
    size = read_info(onnx).source_size
    random = np.random.default_rng(0)
    for batch, length in ((1, 1), (1, 9), (7, 4), (16, 12)):
        source = random.integers(4, size, (batch, length))
        lengths = random.integers(1, length + 1, batch)
        for beam in (1, 4):
            options = SearchOptions(beam, n_best=beam, keep_attention=True)
            limits = [15] * batch
            expected = beam_search(ours, ours.array(source), ours.array(lengths), limits, options)
            found = beam_search(theirs, source, lengths, limits, options)
            for left, right in zip(expected, found, strict=True):
                assert [h.tokens for h in left] == [h.tokens for h in right]
                assert [h.log_prob for h in left] == pytest.approx([h.log_prob for h in right], abs=1e-4)
                np.testing.assert_allclose(left[0].attention, right[0].attention, atol=1e-5)


def test_the_export_is_complete_and_reports_itself(trained, onnx, corpus, tmp_path):
    report = json.loads((onnx / "export.json").read_text())
    comparison = report["comparison"]
    assert comparison["match_rate"] >= LEAST_MATCH["fp32"]  # a dozen updates in, a tie within rounding is no wonder
    assert report["passed"]
    assert set(comparison["sentences_per_second"]) == {"model", "export"}
    assert report["bytes"] > 0
    assert {"config.json", "tokenizer.model", "encoder.onnx", "step.onnx"} <= {path.name for path in onnx.iterdir()}
    assert not (onnx / "model.safetensors").exists()
    for model, output in ((trained, "a"), (onnx, "b")):
        # greedy: a dozen updates in, two hypotheses of a beam may have one score to the last bit
        assert nmt("translate", "-m", model, "-i", corpus / "valid.words", "-b", "1", "-o", tmp_path / output) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_onnx_model_translates_without_torch(onnx, corpus, tmp_path):
    code = (
        "import sys; from nmtcli.cli import run;"
        f"code = run(['translate', '-m', {str(onnx)!r}, '-i', {str(corpus / 'valid.words')!r},"
        f" '-o', {str(tmp_path / 'out')!r}]);"
        "assert 'torch' not in sys.modules, 'torch was imported'; sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len((tmp_path / "out").read_bytes().split(b"\n")) == 41


def test_safetensors_of_an_average(trained, tmp_path, capsys):
    output = tmp_path / "model"
    assert nmt("export", trained, "-o", output, "--average", "last:2") == 0
    assert "100.0% of 64 lines of random pieces" in capsys.readouterr().out
    assert not list(output.glob("trainer*"))
    assert nmt("export", output, "-o", tmp_path / "again") == 0


def test_what_is_no_place_and_no_source_of_an_export_has_words(trained, onnx, tmp_path, capsys):
    assert nmt("export", trained, "-o", onnx) == 2
    assert "is there already" in capsys.readouterr().err
    assert nmt("export", onnx, "-o", tmp_path / "x") == 3
    assert "is an export to onnx already" in capsys.readouterr().err


def test_an_export_of_other_weights_fails_its_check(trained):
    model, other = load_model(find_model(trained)), load_model(find_model(trained))
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn_like(weight))
    directory = find_model(trained)
    tokenizers = Tokenizers.load(directory)
    info = read_info(directory)
    export = Translator(TorchRuntime(other, torch.device("cpu")), tokenizers, info.search)
    given = export, info, Probes.random(tokenizers.source)
    with pytest.raises(CheckFailed, match="nothing was written"):
        check_equal(model, *given)
    assert check_equal(model, *given, force=True).failures


def untrained(tmp_path, *settings, kind):
    """A model of random weights, and its export."""
    torch.manual_seed(0)
    model = kind(model_config(*settings), 40, 40).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(3.0)
    export_onnx(model, tmp_path)
    return TorchRuntime(model, torch.device("cpu")), OnnxRuntime(tmp_path)


class WithoutAttention(Seq2Seq):
    """A model that does not tell where it looked."""

    def step(self, tokens, memory, cache):
        return replace(super().step(tokens, memory, cache), attention=None)


ROTARY = ["model.encoder.type=transformer", "model.encoder.positions=rotary", "model.decoder.positions=rotary"]
WIDER = ["model.decoder.type=transformer", "model.decoder.layers=2", "model.decoder.hidden_size=24"]


@pytest.mark.parametrize(
    ("settings", "kind"),
    [([*ROTARY, *WIDER], Seq2Seq), (["model.encoder.type=rnn", "model.decoder.type=ssru"], WithoutAttention)],
    ids=["transformer", "ssru"],
)
def test_every_type_of_decoder_exports(tmp_path, settings, kind):
    ours, theirs = untrained(tmp_path, *settings, kind=kind)
    random = np.random.default_rng(0)
    for batch, length in ((1, 1), (5, 9)):
        source = random.integers(4, 40, (batch, length))
        lengths = random.integers(1, length + 1, batch)
        for beam in (1, 3):
            options = SearchOptions(beam, n_best=beam, keep_attention=True)
            expected = beam_search(ours, ours.array(source), ours.array(lengths), [12] * batch, options)
            found = beam_search(theirs, source, lengths, [12] * batch, options)
            for left, right in zip(expected, found, strict=True):
                assert [h.tokens for h in left] == [h.tokens for h in right]
                assert [h.log_prob for h in left] == pytest.approx([h.log_prob for h in right], abs=1e-3)
                if kind is WithoutAttention:
                    assert left[0].attention is None is right[0].attention
                else:
                    np.testing.assert_allclose(left[0].attention, right[0].attention, atol=1e-5)

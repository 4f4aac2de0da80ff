"""Exports translate like the model they come from, or are refused."""

import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nmtcli.checkpoint import find_model, load_model, read_info
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.errors import CheckFailed
from nmtcli.export import checking, exporter
from nmtcli.export.card import training_settings
from nmtcli.export.checking import LEAST_MATCH, Probes, Speed, compare
from nmtcli.export.exporter import check_export
from nmtcli.export.onnx import export_onnx, flatten
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.translate.runtimes.onnx import OnnxRuntime
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.translate.translator import Translator
from tests.conftest import model_config, nmt, require_onnx_export


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


def test_export_directory_is_complete_and_described_by_export_json(trained, onnx, corpus, tmp_path):
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
    shown = " ".join(capsys.readouterr().out.split())
    assert "100.0% equal translations of 64 lines of random pieces" in shown
    assert not list(output.glob("trainer*"))
    assert nmt("export", output, "-o", tmp_path / "again") == 0


def test_the_next_command_is_one_line_however_long_its_path(trained, tmp_path, capsys):
    output = tmp_path / ("long" * 30) / "model"
    assert nmt("export", trained, "-o", output) == 0
    assert f" use it    nmt translate -m {output}\n" in capsys.readouterr().out


def test_invalid_outputs_and_sources_of_an_export_are_refused(trained, onnx, tmp_path, capsys):
    assert nmt("export", trained, "-o", onnx) == 2
    assert "exists already" in capsys.readouterr().err
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
        check_export(model, *given)
    assert check_export(model, *given, force=True).failures


class NotNumbers(checking._LikeCTranslate2):
    """An engine with the right tokens and log-probabilities that are NaN, as CTranslate2 may return them."""

    def search(self, *given, **more):
        pools = super().search(*given, **more)
        return [pools[0], *([replace(one, log_prob=math.nan) for one in pool] for pool in pools[1:])]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_export_whose_log_probabilities_are_not_numbers_fails_its_check(trained, precision):
    directory = find_model(trained)
    tokenizers, model = Tokenizers.load(directory), load_model(directory)
    info = read_info(directory).model_copy(update={"kind": "ctranslate2", "precision": precision})
    export = Translator(NotNumbers(TorchRuntime(model, torch.device("cpu"))), tokenizers, info.search)
    with pytest.raises(CheckFailed, match="log-probabilities differ by up to nan per token"):
        check_export(model, export, info, Probes.random(tokenizers.source))


class Delayed:
    """An engine that waits at each sentence it begins."""

    parallel_batches = 1

    def __init__(self, runtime, seconds):
        self.runtime, self.seconds = runtime, seconds
        self.array, self.step, self.share = runtime.array, runtime.step, runtime.share

    def start(self, source, source_length):
        time.sleep(self.seconds * len(source))
        return self.runtime.start(source, source_length)


@pytest.fixture
def delay(monkeypatch):
    """Makes exports that need so many seconds more a sentence."""

    def make(seconds):
        real = exporter.open_engine
        monkeypatch.setattr(checking, "LEAST_DELAY", 0.1)
        monkeypatch.setattr(checking, "MEASURED_AGAIN", 0.0)
        monkeypatch.setattr(exporter, "open_engine", lambda *given: Delayed(real(*given), seconds))

    return make


def test_an_export_of_less_than_half_the_speed_is_refused_unless_forced(trained, delay, tmp_path, capsys):
    delay(0.03)
    command = ["export", trained, "-o", tmp_path / "model"]
    assert nmt(*command) == 5
    words = capsys.readouterr().err
    assert "less than 50% of the speed" in words
    assert "nothing was written" in words
    assert "--force" in words
    assert "report it" not in words
    assert not (tmp_path / "model").exists()
    assert nmt(*command, "--force") == 0
    assert "less than 50% of the speed" in capsys.readouterr().err
    report = json.loads((tmp_path / "model" / "export.json").read_text())
    assert not report["passed"]
    assert "**less than half as fast, exported with --force**" in (tmp_path / "model" / "README.md").read_text("utf-8")


def test_a_short_delay_is_not_counted_as_slower():
    assert Speed(model=200.0, export=10.0).too_slow(sentences=64)
    assert not Speed(model=200.0, export=50.0).too_slow(sentences=64)  # a second all in all
    assert Speed(model=200.0, export=50.0).too_slow(sentences=200)
    assert not Speed(model=200.0, export=110.0).too_slow(sentences=20_000)


class StartsSlowly(Delayed):
    """The same while it translates the first sentences, as an engine that makes its code then."""

    left = 68

    def start(self, source, source_length):
        self.left -= len(source)
        self.seconds = self.seconds if self.left >= 0 else 0.0
        return super().start(source, source_length)


def test_the_first_timed_round_of_an_engine_is_ignored(trained):
    directory = find_model(trained)
    tokenizers, info, model = Tokenizers.load(directory), read_info(directory), load_model(directory)
    engine = StartsSlowly(TorchRuntime(load_model(directory), torch.device("cpu")), 0.01)
    comparison = compare(model, Translator(engine, tokenizers, info.search), info, Probes.random(tokenizers.source))
    assert comparison.sentences == 64
    assert engine.left < 0
    assert comparison.sentences_per_second.export > 1 / 0.01


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
    require_onnx_export()
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


@pytest.mark.parametrize(
    "settings",
    [["bidirectional=false", "layers=2"], ["bidirectional=first", "layers=3", "cell=gru"]],
    ids=["unidirectional", "first"],
)
def test_stacked_unidirectional_encoders_export_for_any_length(tmp_path, settings):
    require_onnx_export()
    ours, theirs = untrained(tmp_path, *(f"model.encoder.{one}" for one in settings), kind=Seq2Seq)
    for lengths in ([3], [11, 3, 7]):
        source = np.random.default_rng(0).integers(4, 40, (len(lengths), max(lengths)))
        memory, cache = ours.start(ours.array(source), ours.array(np.array(lengths)))
        expected = [array.numpy() for _, array in flatten((memory, cache))]
        found = [array for arrays in theirs.start(source, np.array(lengths)) for array in arrays.values()]
        for left, right in zip(expected, found, strict=True):
            np.testing.assert_allclose(right, left, atol=1e-5)


def test_the_card_has_no_settings_of_another_project(trained, onnx, tmp_path, monkeypatch):
    assert training_settings(find_model(trained))
    monkeypatch.chdir(find_model(trained).parent)
    assert training_settings(Path(find_model(trained).name))  # a relative path
    other = tmp_path / "model"
    other.mkdir()
    (tmp_path / "config.yaml").write_text("train:\n  learning_rate: 0.5\n")
    assert training_settings(other) == []

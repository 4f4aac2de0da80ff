"""Ensembles of real models: PyTorch and ONNX together."""

import os
import shutil

import numpy as np
import pytest
import torch

from nmtcli.checkpoint import find_model, load_model
from nmtcli.errors import UserError
from nmtcli.translate.ensemble import Ensemble
from nmtcli.translate.runtimes.onnx import OnnxRuntime
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.translate.translator import Translator


@pytest.fixture(scope="module")
def runtimes(trained, onnx):
    return TorchRuntime(load_model(find_model(trained)), torch.device("cpu")), OnnxRuntime(onnx)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 0, 1), (0,)])
@pytest.mark.parametrize("mean", ["probability", "log_probability"])
def test_pytorch_and_onnx_together_translate_like_each(runtimes, order, mean):
    """The same weights in both engines, so the ensemble is the model."""
    random = np.random.default_rng(0)
    source, length = random.integers(4, 20, (5, 7)), np.array([7, 3, 5, 1, 6])
    options = SearchOptions(4, n_best=4, keep_attention=True)
    expected = beam_search(runtimes[1], source, length, [12] * 5, options)
    ensemble = Ensemble([runtimes[n] for n in order], mean=mean)
    found = beam_search(ensemble, ensemble.array(source), ensemble.array(length), [12] * 5, options)
    for left, right in zip(expected, found, strict=True):
        assert [h.tokens for h in left] == [h.tokens for h in right]
        assert [h.log_prob for h in left] == pytest.approx([h.log_prob for h in right], abs=1e-4)
        np.testing.assert_allclose(left[0].attention, np.asarray(right[0].attention), atol=1e-4)


def test_an_ensemble_is_a_runtime(runtimes, trained):
    """Where the members share the source tokenizer, a translator takes it as it takes a model."""
    plain = Translator.load(trained, "cpu")
    both = Translator(Ensemble(runtimes, [1, 3]), plain.tokenizers, plain.search)
    lines = ["one two three", "", "four five", "nine " * 9]
    expected, found = plain.translate(lines, n_best=2), both.translate(lines, n_best=2, attention=True)
    assert [[c.text for c in own.candidates] for own in found] == [[c.text for c in own.candidates] for own in expected]


def test_models_without_attention_can_be_an_ensemble(tiny_model):
    """Their memory is empty: the state is all that there is."""
    settings = ["model.attention.type=none", "model.decoder.bridge=mean"]
    members = [TorchRuntime(tiny_model(*settings, seed=seed), torch.device("cpu")) for seed in (0, 1)]
    source, length = np.array([[4, 5, 6], [7, 8, 2]]), np.array([3, 2])
    ensemble = Ensemble([members[0], members[0]])
    found = beam_search(ensemble, ensemble.array(source), ensemble.array(length), [6, 6], SearchOptions(2))
    alone = beam_search(members[0], members[0].array(source), members[0].array(length), [6, 6], SearchOptions(2))
    assert [pool[0].tokens for pool in found] == [pool[0].tokens for pool in alone]
    both = beam_search(Ensemble(members), ensemble.array(source), ensemble.array(length), [6, 6], SearchOptions(2))
    assert all(np.isfinite(one.log_prob) for pool in both for one in pool) and all(both)


def test_only_the_ratio_of_weights_matters(runtimes):
    for weights, expected in (([1e308, 1e308], [0.5, 0.5]), ([1e-300, 3e-300], [0.25, 0.75])):
        assert Ensemble(runtimes, weights).weights == pytest.approx(expected)
    with pytest.raises(UserError, match="too different"):
        Ensemble(runtimes, [1e308, 1e-300])


def test_a_directory_whose_name_is_not_utf8_is_told(onnx, tmp_path):
    path = tmp_path / os.fsdecode(b"m\xe9")
    shutil.copytree(onnx, path)
    with pytest.raises(UserError, match="the name is not UTF-8"):
        OnnxRuntime(path)

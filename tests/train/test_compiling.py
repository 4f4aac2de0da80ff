"""Compiled Transformer layers compute what eager ones do, in one graph each; a compiler that fails stops nothing."""

import re
from functools import partial

import pytest
import torch
from torch._dynamo.utils import counters

from nmtcli.data.batching import Sentences
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train import checkpointing
from nmtcli.train.batches import make_batch
from nmtcli.train.compiling import compile_layers, eager_layers
from nmtcli.train.loss import TrainingLoss
from tests.conftest import TINY, nmt, overrides
from tests.train.runs import events, train

VOCABULARY = 12
SHAPES = [(3, 5, 6), (4, 9, 8)]  # pairs, source and target tokens
TRANSFORMER = ["model.encoder.type=transformer", "model.decoder.type=transformer", "train.compile=true"]


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch.compiler.set_stance("default")


def batch(pairs, source, target):
    random = torch.Generator().manual_seed(pairs)
    sides = [torch.randint(4, VOCABULARY, (pairs, length), generator=random).tolist() for length in (source, target)]
    return make_batch(*map(Sentences.of, sides))


def loss_and_gradients(model, shape):
    model.train().zero_grad()
    loss, _ = TrainingLoss(model, smoothing=0.1)(batch(*shape))
    loss.backward()
    return loss.detach(), [weight.grad.clone() for weight in model.parameters()]


@pytest.mark.parametrize(
    ("preset", "layers"),
    [("transformer-tiny", 4), pytest.param("transformer-marian", 4, marks=pytest.mark.slow), ("hybrid-ssru", 2)],
)
def test_layers_are_one_graph_each_with_the_loss_and_gradients_of_eager_ones(preset, layers):
    small = {"model.embedding.size": 32} | {f"model.{part}.layers": 2 for part in ("encoder", "decoder")}
    small |= {f"model.{part}.hidden_size": 32 for part in ("encoder", "decoder")}
    settings = [f"{key}={value}" for key, value in small.items()]
    model = Seq2Seq(load_config(preset, overrides=[*settings, "model.dropout=0"]).model, VOCABULARY, VOCABULARY)
    expected = [loss_and_gradients(model, shape) for shape in SHAPES]
    assert compile_layers(model, backend="aot_eager") == layers
    for shape, (loss, gradients) in zip(SHAPES, expected, strict=True):
        found, ours = loss_and_gradients(model, shape)
        torch.testing.assert_close(found, loss)
        torch.testing.assert_close(ours, gradients, rtol=1e-4, atol=1e-5)
    assert not counters["graph_break"]
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0  # the layers were compiled,
    for shape in [(5, 7, 9), (6, 4, 5)]:
        loss_and_gradients(model, shape)
    assert counters["stats"]["unique_graphs"] == graphs  # and further shapes need nothing new


def test_dropout_is_drawn_anew_in_compiled_layers():
    config = load_config("transformer-tiny", overrides=["model.dropout=0.4", "model.encoder.layers=1"]).model
    model = Seq2Seq(config, VOCABULARY, VOCABULARY)
    compile_layers(model, backend="eager")
    one, other = (loss_and_gradients(model, SHAPES[0])[0] for _ in range(2))
    assert not torch.equal(one, other)


def test_validation_runs_eager_layers():
    model = Seq2Seq(load_config("transformer-tiny", overrides=["model.dropout=0.1"]).model, VOCABULARY, VOCABULARY)
    compile_layers(model, backend=refusing)  # fails where it is asked
    with eager_layers(compiled=True):
        loss_and_gradients(model, SHAPES[0])
    assert not counters["stats"]


def refusing(graph, inputs):
    raise RuntimeError("no compiler here")


def test_a_compiler_that_fails_is_told_in_one_line_and_training_goes_on(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpointing, "compile_layers", partial(compile_layers, backend=refusing))
    settings = [*TRANSFORMER, "train.max_updates=2", "train.valid_every=2"]
    assert train(data, tmp_path / "run", *settings) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "train.compile" in line]
    assert len(warnings) == 1
    assert re.search("no compiler here.*; layers stay eager", warnings[0])
    assert len(events(tmp_path / "run", "stayed_eager")) == 1
    assert train(data, tmp_path / "eager", *settings, "train.compile=false") == 0
    assert losses(tmp_path / "run") == losses(tmp_path / "eager")


def losses(run):
    return [event["loss"] for event in events(run, "updated")]


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_run_with_compiled_layers_is_the_eager_run(data, tmp_path, monkeypatch, backend):
    monkeypatch.setattr(checkpointing, "compile_layers", partial(compile_layers, backend=backend))
    settings = [*TRANSFORMER, "train.max_updates=3", "train.valid_every=2"]
    assert train(data, tmp_path / "run", *settings) == 0
    assert counters["stats"]["unique_graphs"] >= 2
    assert not counters["graph_break"]
    assert not events(tmp_path / "run", "stayed_eager")
    assert train(data, tmp_path / "eager", *settings, "train.compile=false") == 0
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "eager"), rel=1e-4)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.decoder.type=rnn", "train.compile needs an encoder or decoder of type transformer"),
        ("train.sharded=true", "compile needs whole weights: set sharded false"),
    ],
)
def test_compile_is_refused_where_it_could_do_nothing(data, tmp_path, capsys, setting, words):
    settings = overrides(*TINY, *TRANSFORMER, "model.encoder.type=rnn", setting)
    assert nmt("train", data, "-o", tmp_path / "run", *settings) == 2
    assert words in capsys.readouterr().err

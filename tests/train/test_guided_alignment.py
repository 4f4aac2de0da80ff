"""Guided alignment in training: its targets, its loss, and that attention follows the alignment."""

from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.checkpoint import find_model, load_model
from nmtcli.config import TrainConfig
from nmtcli.data.batching import Sentences
from nmtcli.data.directory import open_data
from nmtcli.data.links import Links
from nmtcli.models import recurrent
from nmtcli.models.loop import plain_product
from nmtcli.train.batches import BatchPlan, make_batch
from nmtcli.train.loss import TrainingLoss, guided_alignment_loss
from nmtcli.vocabulary import EOS, PAD
from tests.conftest import TINY, nmt, overrides, prepare_arguments
from tests.equations import SCORES


@pytest.fixture(scope="module")
def aligned(corpus, tmp_path_factory):
    """The tiny corpus with its right alignment: digits stand from right to left."""
    folder = tmp_path_factory.mktemp("aligned")
    lengths = [len(line.split()) for line in (corpus / "train.words").read_text().splitlines()]
    lines = (" ".join(f"{word}-{size - 1 - word}" for word in range(size)) for size in lengths)
    (folder / "links").write_text("".join(f"{line}\n" for line in lines))
    arguments = [*prepare_arguments(corpus, folder / "data"), "--train-alignment", folder / "links"]
    assert nmt(*arguments) == 0
    return folder / "data"


@st.composite
def linked_pairs(draw):
    sizes = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    link = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    return sizes, draw(st.lists(link, max_size=8))


def batch_of(pairs):
    sides = [Sentences.of([[7] * sizes[side] for sizes, _ in pairs]) for side in (0, 1)]
    packed = Sentences.of([[number for link in links for number in link] for _, links in pairs])
    return make_batch(*sides, Links.unpack(packed))


@given(st.lists(linked_pairs(), min_size=1, max_size=5))
def test_guided_attention_targets_are_uniform_over_linked_tokens(pairs):
    batch = batch_of(pairs)
    assert batch.alignment.shape == (*batch.target_output.shape, batch.source.shape[1])
    for row, (_, links) in enumerate(pairs):
        for target in range(batch.target_output.shape[1]):
            linked = {one for one, other in links if other == target}
            expected = [1 / len(linked) if source in linked else 0 for source in range(batch.source.shape[1])]
            assert batch.alignment[row, target].tolist() == pytest.approx(expected)
    special = (batch.target_output == EOS) | (batch.target_output == PAD)
    assert not batch.alignment[special].any()


@given(st.lists(linked_pairs(), min_size=1, max_size=5), st.integers(0, 99), st.booleans())
def test_guided_alignment_loss_equals_a_loop(pairs, seed, window):
    alignment = batch_of(pairs).alignment
    torch.manual_seed(seed)
    scores = torch.randn(alignment.shape, requires_grad=True)
    attention = torch.softmax(scores, dim=-1)
    if window:  # exact zeros
        attention = attention * (torch.rand(alignment.shape) < 0.5)
    expected = 0.0
    for guide, weights in zip(alignment.flatten(0, 1).tolist(), attention.flatten(0, 1).tolist(), strict=True):
        for wanted, weight in zip(guide, weights, strict=True):
            expected -= wanted * np.log(max(weight, 1e-12))
    loss = guided_alignment_loss(attention, alignment)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    loss.backward()
    assert scores.grad.isfinite().all()


def test_the_objective_adds_the_weighted_alignment_loss(tiny_model):
    batch = batch_of([((4, 3), [(0, 0), (3, 1), (2, 1)]), ((2, 5), [(1, 4)]), ((3, 3), [])])
    model = tiny_model()
    plain, _ = TrainingLoss(model, 0.1)(replace(batch, alignment=None))
    attention = model.decode(batch.source, batch.source_length, batch.target_input, need_attention=True).attention
    added = guided_alignment_loss(attention, batch.alignment)
    assert added > 0
    for weight in (0.5, 2.0):
        loss, _ = TrainingLoss(model, 0.1, guidance=weight)(batch)
        torch.testing.assert_close(loss, plain + weight * added)
    torch.testing.assert_close(TrainingLoss(model, 0.1, 2.0).evaluate(batch)[0], plain, rtol=1e-5, atol=1e-4)


ATTENTIONS = [
    *([f"model.attention.type={kind}"] for kind in SCORES),
    *(["model.attention.type=additive", f"model.attention.window={window}"] for window in ("local-m", "local-p")),
    ["model.attention.type=additive", "model.attention.heads=2"],
    ["model.decoder.input_feeding=true", "model.attention.window=local-m", "model.attention.window_size=1"],
    ["model.decoder.query=previous_state", "model.attention.type=additive"],
    ["model.decoder.query=first_layer", "model.decoder.layers=2"],
]


@pytest.mark.parametrize("attention", ATTENTIONS, ids=" ".join)
def test_every_kind_of_attention_is_guided_with_the_gradients_of_plain_autograd(attention, tiny_model, monkeypatch):
    batch = batch_of([((4, 3), [(0, 0), (3, 1), (2, 1)]), ((2, 5), [(1, 4)]), ((3, 3), [])])
    found = []
    for products in (recurrent.loop_products, lambda steps: repeat(plain_product, steps)):
        monkeypatch.setattr(recurrent, "loop_products", products)
        model = tiny_model(*attention)
        decoded = model.decode(batch.source, batch.source_length, batch.target_input, need_attention=True)
        guided_alignment_loss(decoded.attention, batch.alignment).backward()
        found.append({name: w.grad for name, w in model.named_parameters() if w.grad is not None})
    assert any(
        gradient.abs().max() > 0 for name, gradient in found[0].items() if "attention" in name or "encoder" in name
    )
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        assert gradient.isfinite().all()
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-5, msg=name)


def test_links_are_read_only_for_guided_alignment(aligned):
    data = open_data(aligned)
    for weight in (0.0, 0.5):
        plan = BatchPlan.training(data, TrainConfig(guided_alignment=weight, batch_tokens=4096))
        batch = plan.load(np.arange(20))
        assert (batch.alignment is not None) == (weight > 0)
    filled = batch.alignment.sum(dim=2)
    assert torch.equal(filled.round(), ((batch.target_output != PAD) & (batch.target_output != EOS)).float())


@torch.no_grad()
def attention_on_links(run, data) -> float:
    """Share of the attention of linked target tokens that lies on what they are linked to."""
    model = load_model(find_model(run))
    rows = np.arange(len(data.train))
    batch = make_batch(*data.train.gather(rows), Links.unpack(data.train.links(rows)))
    attention = model.decode(batch.source, batch.source_length, batch.target_input, need_attention=True).attention
    linked = batch.alignment > 0
    return (attention[linked].sum() / linked.any(dim=2).sum()).item()


# learns to look somewhere within a second
SHORT = [
    *TINY,
    "model.encoder.hidden_size=32",
    "model.decoder.hidden_size=32",
    "model.embedding.scale=true",
    "model.dropout=0",
    "train.learning_rate=0.01",
    *(f"train.{key}=100" for key in ("max_updates", "valid_every", "save_every")),
]


def test_guided_attention_follows_the_alignment(aligned, tmp_path):
    shares = []
    for weight in (0, 1):
        run = tmp_path / str(weight)
        assert nmt("train", aligned, "-o", run, *overrides(*SHORT, f"train.guided_alignment={weight}")) == 0
        shares.append(attention_on_links(run, open_data(aligned)))
    assert shares[1] > 2 * shares[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["train.subword_sampling=0.2"], "are mutually exclusive"),
        (["model.attention.type=none"], "model.attention.type is none"),
    ],
)
def test_guided_alignment_with_conflicting_settings_is_refused(settings, words, aligned, tmp_path, capsys):
    settings = [*TINY, "train.guided_alignment=0.5", *settings]
    assert nmt("train", aligned, "-o", tmp_path / "run", *overrides(*settings)) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_data_without_alignment_is_refused(data, tmp_path, capsys):
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*TINY, "train.guided_alignment=1")) == 2
    words = capsys.readouterr().err
    assert "the training data has none" in words
    assert "--train-alignment" in words

"""What must hold for every model, whatever its weights."""

import pytest
import torch

from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.vocabulary import BOS, EOS, PAD

PLAIN = ["model.attention.type=none"]
BAHDANAU = ["model.attention.type=additive", "model.decoder.query=previous_state", "model.decoder.cell=gru"]
FEEDING = ["model.decoder.input_feeding=true"]
GNMT = ["model.decoder.query=first_layer", "model.decoder.layers=3", "model.decoder.residual=true"]
COPY = [*PLAIN, "model.decoder.bridge=copy", "model.encoder.layers=2", "model.decoder.layers=2"]
HEADS = ["model.attention.type=additive", "model.attention.heads=4", "model.attention.hidden_size=8"]
LOCAL_M = ["model.attention.window=local-m", "model.attention.window_size=1"]
MARIAN = [
    *("model.encoder.type=transformer", "model.decoder.type=transformer", "model.encoder.norm=post"),
    *("model.decoder.norm=post", "model.encoder.activation=silu", "model.decoder.activation=silu"),
    *("model.output_bias=true", "model.embedding.zero_start=true", "model.embedding.scale=true"),
]
VARIANTS = [
    [],
    ["model.attention.type=dot"],
    ["model.attention.type=general"],
    ["model.attention.type=scaled_dot"],
    ["model.attention.type=concat"],
    ["model.attention.type=location", "model.attention.max_length=4"],
    HEADS,
    ["model.attention.type=scaled_dot", "model.attention.heads=2"],
    LOCAL_M,
    ["model.attention.type=location", "model.attention.max_length=2", *LOCAL_M],
    ["model.attention.window=local-p", "model.attention.window_size=2"],
    ["model.encoder.layers=2", "model.decoder.layers=3"],
    ["model.encoder.bidirectional=false", "model.encoder.hidden_size=10"],
    ["model.encoder.bidirectional=first", "model.encoder.layers=3", "model.encoder.residual=true"],
    ["model.encoder.cell=gru", "model.decoder.cell=gru", "model.decoder.layers=2"],
    ["model.encoder.layer_norm=true", "model.decoder.layer_norm=true"],
    ["model.encoder.layer_norm=true", "model.decoder.layer_norm=true", "model.encoder.cell=gru", *BAHDANAU],
    ["model.encoder.reverse_source=true"],
    ["model.embedding.tie=none"],
    ["model.embedding.scale=true"],
    ["model.embedding.tie=target", "model.encoder.layers=2"],
    [*PLAIN, "model.decoder.bridge=copy"],
    [*COPY, "model.encoder.cell=gru", "model.decoder.cell=gru", "model.encoder.reverse_source=true"],
    [*COPY, "model.encoder.layer_norm=true", "model.encoder.bidirectional=first", "model.encoder.repeat_source=true"],
    [*PLAIN, "model.decoder.context_every_step=true", "model.decoder.readout=maxout", "model.decoder.cell=gru"],
    [*PLAIN, "model.encoder.repeat_source=true", "model.encoder.reverse_source=true", "model.decoder.readout=state"],
    FEEDING,
    [*FEEDING, "model.attention.type=dot"],
    [*FEEDING, "model.attention.type=concat", "model.decoder.layers=2", "model.decoder.residual=true"],
    [*FEEDING, *LOCAL_M, "model.decoder.cell=gru"],
    [*FEEDING, "model.attention.window=local-p", "model.attention.type=location", "model.decoder.readout=deep"],
    [*FEEDING, *PLAIN, "model.decoder.context_every_step=true", "model.decoder.layer_norm=true"],
    [*BAHDANAU, "model.decoder.readout=maxout", "model.decoder.bridge=backward", "model.encoder.cell=gru"],
    ["model.decoder.query=previous_state", "model.decoder.layers=2", "model.decoder.bridge=mean"],
    GNMT,
    ["model.encoder.type=transformer", "model.decoder.type=transformer", "model.decoder.layers=2"],
    ["model.encoder.type=transformer", "model.decoder.type=ssru", "model.encoder.layers=2"],
    ["model.encoder.type=transformer", "model.encoder.reverse_source=true", "model.attention.type=additive"],
    ["model.decoder.type=transformer", "model.decoder.positions=rotary"],
    MARIAN,
    ["model.output_bias=true", "model.embedding.zero_start=true", "model.embedding.tie=none"],
    [*GNMT, *HEADS, "model.decoder.readout=state", "model.decoder.bridge=zero", "model.decoder.layer_norm=true"],
]
variants = pytest.mark.parametrize("settings", VARIANTS, ids=lambda settings: ",".join(settings) or "default")


def batch():
    """Source [3, 6], lengths, and target input [3, 5]."""
    source = torch.tensor([[4, 5, 6, 7, 8, EOS], [9, 4, EOS, PAD, PAD, PAD], [5, EOS, PAD, PAD, PAD, PAD]])
    target = torch.tensor([[BOS, 5, 6, 7, 8], [BOS, 4, 4, 4, 4], [BOS, 9, 8, 7, 6]])
    return source, torch.tensor([6, 3, 2]), target


@torch.no_grad()
def check_forward_equals_repeated_step(model):
    source, length, target = batch()
    parallel = model.log_probs(model(source, length, target))  # [B, T, V]
    memory, cache = model.start(source, length)
    for position in range(target.shape[1]):
        step = model.step(target[:, position, None], memory, cache)
        cache = step.cache
        torch.testing.assert_close(step.log_probs[:, 0], parallel[:, position], atol=1e-4, rtol=1e-4)


@variants
def test_forward_equals_repeated_step(tiny_model, settings):
    check_forward_equals_repeated_step(tiny_model(*settings))


@variants
@torch.no_grad()
def test_padding_changes_nothing(tiny_model, settings):
    model = tiny_model(*settings)
    source, length, target = batch()
    padded = torch.cat([source, torch.full((3, 4), PAD)], dim=1)
    torch.testing.assert_close(model(source, length, target), model(padded, length, target), atol=1e-4, rtol=1e-4)
    for row in range(3):
        alone = model(source[row : row + 1, : length[row]], length[row : row + 1], target[row : row + 1])
        torch.testing.assert_close(alone[0], model(source, length, target)[row], atol=1e-4, rtol=1e-4)


@variants
@torch.no_grad()
def test_a_translation_scores_its_own_log_probability(tiny_model, settings):
    model = tiny_model(*settings)
    source, length, _ = batch()
    found = beam_search(model, source, length, [9, 9, 9], SearchOptions(beam_size=4, n_best=4, length_penalty=0.7))
    for row, hypotheses in enumerate(found):
        for hypothesis in hypotheses:
            tokens = torch.tensor([hypothesis.tokens])
            target = torch.cat([torch.tensor([[BOS]]), tokens[:, :-1]], dim=1)
            log_probs = model.log_probs(model(source[row : row + 1], length[row : row + 1], target))
            forced = log_probs.gather(2, tokens[..., None]).sum().item()
            assert hypothesis.log_prob == pytest.approx(forced, abs=1e-4)


@variants
@torch.no_grad()
def test_attention_is_a_distribution_over_real_source_tokens(tiny_model, settings):
    model = tiny_model(*settings)
    source, length, _ = batch()
    found = beam_search(model, source, length, [7, 7, 7], SearchOptions(beam_size=3, keep_attention=True))
    for row, (hypothesis,) in enumerate(found):
        if model.config.attention.type == "none":
            assert hypothesis.attention is None
            continue
        assert hypothesis.attention.shape == (len(hypothesis.tokens), source.shape[1])
        total = torch.as_tensor(hypothesis.attention.sum(axis=1))
        if model.config.attention.window == "local-p":  # times a Gaussian
            assert bool(((total > 0) & (total <= 1 + 1e-6)).all())
        else:
            torch.testing.assert_close(total, torch.ones(len(hypothesis.tokens)))
        assert float(hypothesis.attention[:, int(length[row]) :].sum()) == 0


@torch.no_grad()
def test_a_sentence_alone_is_translated_as_in_a_batch(tiny_model):
    model = tiny_model("model.encoder.layers=2")
    source, length, _ = batch()
    options = SearchOptions(beam_size=3, n_best=3)
    together = beam_search(model, source, length, [9, 9, 9], options)
    for row in range(3):
        alone = beam_search(model, source[row : row + 1, : length[row]], length[row : row + 1], [9], options)[0]
        assert [h.tokens for h in alone] == [h.tokens for h in together[row]]


def test_tied_weights_are_one(tiny_model):
    model = tiny_model("model.embedding.tie=all")
    assert model.output.weight is model.target_embedding.weight is model.source_embedding.weight
    apart = tiny_model("model.embedding.tie=none")
    assert (
        len({id(t) for t in (apart.output.weight, apart.target_embedding.weight, apart.source_embedding.weight)}) == 3
    )

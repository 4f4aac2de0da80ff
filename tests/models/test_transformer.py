"""Transformer encoder, Transformer decoder and SSRU decoder: properties for any weights."""

import pytest
import torch

from nmtcli.models.interfaces import Encoded
from nmtcli.models.multihead import MASKED, attend, fused_attention, plain_attention, score_mask
from nmtcli.models.protocol import map_rows, select_rows
from nmtcli.models.seq2seq import parameter_count
from nmtcli.models.ssru import SsruDecoder
from nmtcli.models.transformer import FeedForward, TransformerDecoder, TransformerEncoder
from tests.conftest import model_config

ENCODERS = [
    [],
    ["norm=post", "layers=2"],
    ["positions=rotary", "activation=gelu", "layers=2"],
    ["activation=swiglu", "heads=2", "feedforward_size=20"],
    ["hidden_size=24", "layers=3"],
]
DECODERS = [
    *[["type=transformer", *settings] for settings in ENCODERS],
    ["type=transformer", "positions=rotary", "norm=post", "activation=swiglu"],
    ["type=ssru"],
    ["type=ssru", "norm=post", "layers=2", "activation=swiglu"],
    ["type=ssru", "hidden_size=24", "activation=gelu", "heads=1"],
]
BATCH, SOURCE, TARGET, SIZE, WIDTH = 3, 7, 6, 16, 12  # WIDTH is that of the encoder a decoder is tested with
LENGTH = torch.tensor([7, 4, 1])

encoders = pytest.mark.parametrize("settings", ENCODERS, ids=lambda settings: ",".join(settings) or "default")
decoders = pytest.mark.parametrize("settings", DECODERS, ids=",".join)


def lively(module):
    """The module with weights far enough from their first values that each of them matters."""
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return module.eval()


def make_encoder(settings):
    torch.manual_seed(0)
    config = model_config("model.encoder.type=transformer", *(f"model.encoder.{setting}" for setting in settings))
    return lively(TransformerEncoder(config))


def make_decoder(settings):
    torch.manual_seed(0)
    given = [f"model.decoder.{setting}" for setting in settings]
    config = model_config(f"model.encoder.hidden_size={WIDTH}", *given)
    return lively((SsruDecoder if config.decoder.type == "ssru" else TransformerDecoder)(config))


def encoded(batch=BATCH, length=LENGTH):
    """What some encoder might have given; padding is far from zero."""
    torch.manual_seed(1)
    mask = torch.arange(SOURCE)[None] < length[:, None]
    return Encoded(torch.randn(batch, SOURCE, WIDTH), mask, torch.randn(batch, WIDTH))


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@encoders
@torch.no_grad()
def test_an_encoder_never_sees_padding_or_other_sentences(settings):
    encoder = make_encoder(settings)
    embedded = torch.randn(BATCH, SOURCE, SIZE)
    together = encoder(embedded, LENGTH)
    assert together.finals == ()
    padded = encoder(torch.cat([embedded, torch.full((BATCH, 5, SIZE), 9.0)], dim=1), LENGTH)
    close(padded.summary, together.summary)
    for row, length in enumerate(LENGTH.tolist()):
        alone = encoder(embedded[row : row + 1, :length], LENGTH[row : row + 1])
        for other in (together, padded):
            close(other.states[row, :length], alone.states[0])
            assert other.mask[row].tolist() == [position < length for position in range(other.mask.size(1))]
        close(together.summary[row], alone.states[0].mean(dim=0))


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
@torch.no_grad()
def test_the_encoder_depends_on_word_order(positions):
    encoder = make_encoder([f"positions={positions}"])
    embedded, length = torch.randn(1, SOURCE, SIZE), torch.tensor([SOURCE])
    forwards, backwards = encoder(embedded, length).summary, encoder(embedded.flip(1), length).summary
    assert (forwards - backwards).abs().max() > 1e-3


@torch.no_grad()
def test_an_empty_sentence_gives_finite_numbers():
    encoder, length = make_encoder([]), torch.tensor([3, 0, 0])
    result = encoder(torch.randn(BATCH, SOURCE, SIZE), length)
    assert result.states.isfinite().all()
    assert not result.summary[1:].any()
    decoder = make_decoder(["type=transformer"])
    decoded = decoder(torch.randn(BATCH, TARGET, SIZE), *decoder.start(encoded(length=length)), need_attention=True)
    assert decoded.features.isfinite().all()
    assert decoded.attention.isfinite().all()


@decoders
@torch.no_grad()
def test_forward_equals_repeated_step(settings):
    decoder = make_decoder(settings)
    memory, cache = decoder.start(encoded())
    embedded = torch.randn(BATCH, TARGET, SIZE)
    expected = decoder(embedded, memory, cache, need_attention=True)
    assert decoder(embedded, memory, cache).attention is None
    for position in range(TARGET):
        features, cache, attention = decoder.step(embedded[:, position, None], memory, cache)
        close(features[:, 0], expected.features[:, position])
        close(attention[:, 0], expected.attention[:, position])


@decoders
@torch.no_grad()
def test_hypotheses_of_a_beam_do_not_affect_each_other(settings):
    """Steps of K hypotheses with reordered rows are the forward pass of each, with the source repeated."""
    decoder, beam = make_decoder(settings), 4
    prefixes = torch.randn(BATCH * beam, TARGET, SIZE)
    memory, cache = decoder.start(encoded())
    cache = select_rows(cache, torch.arange(BATCH).repeat_interleave(beam))
    moved = torch.arange(BATCH * beam).unflatten(0, (BATCH, beam)).flip(1).flatten()
    for position in range(TARGET):
        embedded = prefixes[:, position].unflatten(0, (BATCH, beam))
        features, cache, _ = decoder.step(embedded, memory, cache)
        cache, prefixes = select_rows(cache, moved), prefixes[moved]
    source = encoded()
    each = torch.arange(BATCH).repeat_interleave(beam)
    repeated = Encoded(source.states[each], source.mask[each], source.summary[each])
    expected = decoder(prefixes[moved], *decoder.start(repeated)).features[:, -1]
    close(features.flatten(0, 1), expected)


@decoders
@torch.no_grad()
def test_a_decoder_never_sees_source_padding_later_tokens_or_other_sentences(settings):
    decoder = make_decoder(settings)
    source, embedded = encoded(), torch.randn(BATCH, TARGET, SIZE)
    expected = decoder(embedded, *decoder.start(source), need_attention=True)
    assert not expected.attention.masked_select(~source.mask[:, None]).any()
    close(expected.attention.sum(dim=-1), torch.ones(BATCH, TARGET))
    for row, length in enumerate(LENGTH.tolist()):
        states, mask = source.states[row : row + 1, :length], source.mask[row : row + 1, :length]
        memory, cache = decoder.start(Encoded(states, mask, source.summary[row : row + 1]))
        for count in (1, TARGET - 2, TARGET):
            alone = decoder(embedded[row : row + 1, :count], memory, cache).features
            close(alone[0], expected.features[row, :count])


@decoders
@torch.no_grad()
def test_rows_of_a_finished_sentence_can_be_dropped(settings):
    decoder = make_decoder(settings)
    embedded = torch.randn(BATCH, 1, SIZE)
    memory, cache = decoder.start(encoded())
    assert {array.size(0) for array in arrays(cache)} == {array.size(0) for array in arrays(memory)} == {BATCH}
    expected, _, _ = decoder.step(embedded, memory, cache)
    kept = torch.tensor([2, 0])
    features, _, _ = decoder.step(embedded[kept], select_rows(memory, kept), select_rows(cache, kept))
    close(features, expected[kept])


def arrays(tree):
    found = []
    map_rows(tree, found.append)
    return found


@pytest.mark.parametrize("masked", [True, False])
def test_fused_and_explicit_attention_agree(masked):
    torch.manual_seed(0)
    query = torch.randn(BATCH, 2, 5, 8, requires_grad=True)
    keys, values = torch.randn(2, BATCH, 2, SOURCE, 8, requires_grad=True)
    length = torch.tensor([7, 3, 0])
    real = torch.arange(SOURCE)[None] < length[:, None]
    mask = torch.where(real, 0.0, MASKED)[:, None, None] if masked else None
    plain, weights = plain_attention(query, keys, values, mask)
    if masked:
        boolean, _ = plain_attention(query[:2], keys[:2], values[:2], score_mask(real, query)[:2])
        close(boolean, plain[:2])
    fused = fused_attention(query, keys, values, mask)
    close(fused, plain)
    close(weights @ values, plain)
    gradient = torch.randn_like(plain) * (length > 0)[:, None, None, None]  # none where nothing can be looked at
    for left, right in zip(
        torch.autograd.grad(plain, [query, keys, values], gradient),
        torch.autograd.grad(fused, [query, keys, values], gradient),
        strict=True,
    ):
        close(left, right)


def test_the_kernel_s_causal_mask_is_that_of_a_lower_triangle():
    query, keys, values = torch.randn(3, BATCH, 2, SOURCE, 8)
    mask = torch.ones(SOURCE, SOURCE, dtype=torch.bool).tril()[None, None]
    close(fused_attention(query, keys, values, None, causal=True), plain_attention(query, keys, values, mask)[0])


def test_the_softmax_is_fp32_under_autocast():
    query, keys, values = torch.randn(3, 1, 2, 5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        context, weights = attend(query, keys, values, None, need_weights=True)
    assert (context.dtype, weights.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_fused_and_explicit_attention_agree_on_cuda(dtype):
    query, keys, values = torch.randn(3, BATCH, 2, SOURCE, 8, device="cuda", dtype=dtype)
    real = (torch.arange(SOURCE)[None] < torch.tensor([7, 3, 0])[:, None]).cuda()
    mask = score_mask(real, query)
    context, weights = attend(query, keys, values, mask)
    assert weights is None
    assert context.isfinite().all()
    expected, _ = plain_attention(query[:2], keys[:2], values[:2], mask[:2])
    torch.testing.assert_close(context[:2], expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("kind", ["transformer", "ssru"])
def test_every_weight_has_a_gradient_under_autocast(kind):
    torch.manual_seed(0)
    given = ["model.encoder.type=transformer", f"model.decoder.type={kind}", "model.decoder.layers=2"]
    config = model_config(*given, "model.decoder.hidden_size=24", "model.decoder.activation=swiglu")
    encoder, decoder = TransformerEncoder(config), (SsruDecoder if kind == "ssru" else TransformerDecoder)(config)
    with torch.autocast("cpu", torch.bfloat16):
        memory, cache = decoder.start(encoder(torch.randn(BATCH, SOURCE, SIZE), LENGTH))
        features = decoder(torch.randn(BATCH, TARGET, SIZE), memory, cache).features
    # of what a last layer norm gives, the sum says nothing
    (features.float() * torch.randn_like(features)).sum().backward()
    for name, weight in [*encoder.named_parameters(), *decoder.named_parameters()]:
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name


def test_swiglu_has_as_many_weights():
    settings = ["model.decoder.hidden_size=256", "model.decoder.type=transformer", "model.decoder.feedforward_size=768"]
    config = model_config(*settings)
    gated = model_config(*settings, "model.decoder.activation=swiglu")
    sizes = [parameter_count(FeedForward(256, each.decoder)) for each in (config, gated)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)
    small = model_config("model.decoder.type=transformer", "model.decoder.feedforward_size=8")
    assert FeedForward(16, small.decoder).inner.out_features == 8
    assert FeedForward(16, model_config("model.decoder.type=transformer").decoder).inner.out_features == 64


@pytest.mark.parametrize("kind", ["transformer", "ssru"])
@torch.no_grad()
def test_dropout_is_for_training_only(kind):
    encoder, decoder = make_encoder([]), make_decoder([f"type={kind}"])
    embedded, source = torch.randn(BATCH, SOURCE, SIZE), encoded()

    def results():
        return encoder(embedded, LENGTH).states, decoder(embedded, *decoder.start(source)).features

    for training in (True, False):
        encoder.train(training)
        decoder.train(training)
        for once, again in zip(results(), results(), strict=True):
            assert torch.equal(once, again) is not training

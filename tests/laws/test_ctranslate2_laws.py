"""CTranslate2 translates as our search does: hypotheses, scores and attention, for every kind of Transformer."""

from dataclasses import replace

import ctranslate2
import numpy as np
import pytest
import torch

from nmtcli.config import SearchConfig
from nmtcli.export.ctranslate2 import export_ctranslate2
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.decoding import decode, length_limits
from nmtcli.translate.runtimes.ctranslate2 import FOLDER, CTranslate2Runtime
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL
from tests.conftest import model_config

SIZE, SENTENCES, LONGEST = 40, 10, 8
BASE = [f"model.{half}.type=transformer" for half in ("encoder", "decoder")]
KINDS = {
    "pre": ["model.encoder.layers=2", "model.decoder.layers=2", "model.embedding.scale=true"],
    "post": ["model.encoder.norm=post", "model.decoder.norm=post", "model.decoder.layers=3"],
    "gelu": ["model.encoder.activation=gelu", "model.decoder.activation=gelu", "model.encoder.norm=post"],
    "swiglu": ["model.encoder.activation=swiglu", "model.decoder.activation=swiglu", "model.decoder.heads=2"],
    "rotary": ["model.encoder.positions=rotary", "model.decoder.positions=rotary", "model.decoder.layers=2"],
    "marian": [
        *("model.encoder.activation=silu", "model.decoder.activation=silu", "model.encoder.norm=post"),
        *("model.decoder.norm=post", "model.output_bias=true", "model.embedding.zero_start=true"),
    ],
    "widths": ["model.encoder.hidden_size=32", "model.decoder.hidden_size=24", "model.embedding.scale=true"],
}


class Pieces:
    """As much of a tokenizer as an export needs."""

    special_ids = None

    def __len__(self):
        return SIZE

    def pieces(self, ids):
        return [("<pad>", "<s>", "</s>", "<unk>")[i] if i < SPECIAL else f"piece{i}" for i in ids]


class Both:
    source = target = Pieces()


class Writable:
    """A model whose PAD and BOS have no probability: CTranslate2 has theirs shared out among the other tokens."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.start = runtime.start

    def step(self, tokens, memory, cache):
        step = self.runtime.step(tokens, memory, cache)
        log_probs = step.log_probs.clone()
        log_probs[..., [PAD, BOS]] = -torch.inf
        return replace(step, log_probs=torch.log_softmax(log_probs, dim=-1))


def random_model(*settings):
    """A model of random, rather peaked weights that ends its sentences before long."""
    torch.manual_seed(0)
    model = Seq2Seq(model_config(*BASE, "model.embedding.tie=none", *settings), SIZE, SIZE).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2.0) if weight.ndim > 1 else weight.add_(0.1 * torch.randn_like(weight))
        last = model.decoder.norm
        last = model.decoder.layers[-1].around_feedforward.norm if isinstance(last, torch.nn.Identity) else last
        likely = torch.randn_like(last.bias)
        last.bias.copy_(likely)
        project = model.decoder.output
        features = project(likely) if isinstance(project, torch.nn.Linear) else likely
        model.output.weight[EOS] += 7 * features / (features @ features)
    return model


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A model and its export, under one name each."""
    model = random_model(*KINDS[request.param])
    directory = tmp_path_factory.mktemp("export")
    export_ctranslate2(model, Both, directory, "fp32")
    return Writable(TorchRuntime(model, torch.device("cpu"))), directory


def sentences():
    random = np.random.default_rng(0)
    return [random.integers(SPECIAL, SIZE, random.integers(1, LONGEST)).tolist() for _ in range(SENTENCES)]


def ours(runtime, given, config, n_best=1, attention=True):
    lengths = [len(sentence) + 1 for sentence in given]
    source = torch.full((len(given), max(lengths)), PAD)
    for row, sentence in enumerate(given):
        source[row, : lengths[row]] = torch.tensor([*sentence, EOS])
    return decode(
        runtime,
        source,
        torch.tensor(lengths),
        lengths,
        config,
        lambda rows: [],
        n_best=n_best,
        keep_attention=attention,
    )


def check_equal(expected, found):
    for left, right in zip(expected, found, strict=True):
        assert [one.tokens for one in left] == [one.tokens for one in right]
        assert [one.log_prob for one in left] == pytest.approx([one.log_prob for one in right], abs=1e-3)
        assert [one.score for one in left] == pytest.approx([one.score for one in right], abs=1e-3)
        for one, other in zip(left, right, strict=True):
            if one.attention is not None:
                np.testing.assert_allclose(one.attention[:, : other.attention.shape[1]], other.attention, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"beam_size": 1},
        {"beam_size": 4},
        {"beam_size": 4, "length_normalization": "average", "length_penalty": 0.6},
        {"beam_size": 3, "length_penalty": 0.0},
        {"beam_size": 4, "coverage_penalty": 0.4},
    ],
    ids=str,
)
def test_ctranslate2_finds_the_hypotheses_of_our_search(pair, settings):
    model, directory = pair
    config = SearchConfig(max_length_factor=20, stopping="count", **settings)  # CTranslate2's rule
    engine = CTranslate2Runtime(directory, "fp32", "cpu", 1)
    given = sentences()
    found = engine.search(given, config, config.beam_size, True)
    expected = ours(model, given, config, config.beam_size)
    # At a limit CTranslate2 ends fewer hypotheses; only in n-best lists by average does it rank just as we do.
    limits = length_limits(config, [len(sentence) + 1 for sentence in given])[1]
    ended = [row for row, pool in enumerate(expected) if all(len(one.tokens) < limits[row] for one in pool)]
    assert len(ended) > SENTENCES // 2
    assert [pool[0].score for pool in found] == [max(one.score for one in pool) for pool in found]
    if config.length_normalization == "average" or config.beam_size == 1:
        check_equal([expected[row] for row in ended], [found[row] for row in ended])
        return
    # With gnmt's normalisation it may leave out one of what is finished, and seldom that is the best.
    same = [row for row in ended if expected[row][0].tokens == found[row][0].tokens]
    assert len(same) >= 0.8 * len(ended)
    check_equal([expected[row][:1] for row in same], [found[row][:1] for row in same])


@pytest.mark.parametrize("limits", [{"max_length": 1}, {"max_length": 5}, {"max_length_factor": 1}], ids=str)
def test_greedy_search_of_ctranslate2_ends_at_the_length_limit(pair, limits):
    model, directory = pair
    config = SearchConfig(beam_size=1, **limits)
    engine = CTranslate2Runtime(directory, "fp32", "cpu", 1)
    found = [pool[0] for pool in engine.search(sentences(), config, 1, True)]
    for (expected,), one in zip(ours(model, sentences(), config, 1), found, strict=True):
        assert one.tokens == expected.tokens
        assert one.log_prob == pytest.approx(expected.log_prob, abs=1e-3)
        # an end that it did not make itself looks where the token before it did
        own = max(len(one.tokens) - 1, 1)
        np.testing.assert_allclose(one.attention[:own], expected.attention[:own, : one.attention.shape[1]], atol=1e-4)


def test_a_sentence_alone_is_translated_as_in_a_batch(pair):
    _, directory = pair
    engine = CTranslate2Runtime(directory, "fp32", "cpu", 1)
    given, config = sentences(), SearchConfig(beam_size=3)
    together = engine.search(given, config, 3, True)
    check_equal(together, [engine.search([sentence], config, 3, True)[0] for sentence in given])


def test_plain_ctranslate2_finds_the_same(pair):
    model, directory = pair
    config = SearchConfig(beam_size=4, length_normalization="average", max_length_factor=20, stopping="count")
    given, pieces = sentences(), Pieces()
    expected = ours(model, given, config, 4)
    plain = ctranslate2.Translator(str(directory / FOLDER), device="cpu", intra_threads=1)
    found = plain.translate_batch(
        [pieces.pieces(sentence) for sentence in given],
        beam_size=4,
        return_end_token=True,
        max_decoding_length=150,
        min_decoding_length=0,
    )
    ended = [row for row, pool in enumerate(expected) if all(len(one.tokens) < 40 for one in pool)]
    assert len(ended) > SENTENCES // 2
    for row in ended:
        assert found[row].hypotheses[0] == pieces.pieces(expected[row][0].tokens)


@pytest.mark.parametrize(
    "settings", [{"max_length": 4, "min_length": 3}, {"max_length": 1}, {"no_repeat_ngram": 2}], ids=str
)
@pytest.mark.parametrize("beam", [1, 3])
def test_ctranslate2_keeps_length_limits_and_scores_are_log_probabilities(pair, settings, beam):
    _, directory = pair
    engine = CTranslate2Runtime(directory, "fp32", "cpu", 1)
    given, config = sentences(), SearchConfig(beam_size=beam, **settings)
    for sentence, pool in zip(given, engine.search(given, config, 2, True), strict=True):
        for one in pool:
            assert one.tokens[-1] == EOS
            assert config.min_length <= len(one.tokens) <= (config.max_length or 1000)
            assert one.attention.shape == (len(one.tokens), len(sentence) + 1)
            (log_probs,) = engine.log_probs([sentence], [one.tokens[:-1]])
            assert one.log_prob == pytest.approx(sum(log_probs), abs=1e-3)
            pairs = list(zip(one.tokens, one.tokens[1:], strict=False))
            assert config.no_repeat_ngram == 0 or len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("beam", [1, 3])
def test_incomplete_utf8_is_removed_and_the_rest_rescored(pair, beam):
    _, directory = pair
    engine = CTranslate2Runtime(directory, "fp32", "cpu", 1)
    given, config = sentences(), SearchConfig(beam_size=beam, min_length=6)
    plain = engine.search(given, config, beam, True)
    written = sorted({token for pool in plain for one in pool for token in one.tokens} - {EOS})
    values = np.full(SIZE, -1, dtype=np.int16)
    values[written[::2]] = 0xA9  # ends of characters that nothing begins
    whole = engine.search(given, config, beam, True, BytePieces(values))
    assert any(one.repaired for pool in whole for one in pool)
    for sentence, before, pool in zip(given, plain, whole, strict=True):
        texts = {tuple(token for token in one.tokens if values[token] < 0) for one in before}
        assert {one.tokens for one in pool} <= texts
        for one in pool:
            assert one.attention.shape == (len(one.tokens), len(sentence) + 1)
            (log_probs,) = engine.log_probs([sentence], [one.tokens[:-1]])
            assert one.log_prob == pytest.approx(sum(log_probs), abs=1e-3)


def test_hypotheses_cut_at_the_limit_are_ranked_by_their_own_scores(pair):
    """The best of the whole beam is the one that a search for more candidates finds too."""
    _, directory = pair
    engine = CTranslate2Runtime(directory, "fp32", "cpu", 1)
    given, config = sentences(), SearchConfig(beam_size=4, max_length=5)
    one, several = (engine.search(given, config, count, False) for count in (1, 4))
    for best, pool in zip(one, several, strict=True):
        assert best[0].score == max(other.score for other in pool)

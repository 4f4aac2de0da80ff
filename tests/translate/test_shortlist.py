"""Vocabulary shortlists: what is learned, what a batch may use, the same search and constraints."""

import numpy as np
import pytest
import torch

from nmtcli.checkpoint import find_model, model_weights, read_info
from nmtcli.data.directory import open_data
from nmtcli.errors import DataError, UserError
from nmtcli.models.quantized import assemble, reduce_weights
from nmtcli.translate.constraints import Phrase, Phrases, satisfies
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.translate.shortlist import SHORTLIST, Candidates, Shortlist
from nmtcli.translate.translation import Request
from nmtcli.translate.translator import Translator
from nmtcli.vocabulary import EOS, SPECIAL
from tests.conftest import WORDS, nmt
from tests.laws.test_model_laws import batch

LINES = [" ".join(WORDS[digit] for digit in number) for number in ((1, 2, 3), (9, 9), (4,), (7, 0, 5, 5, 8))]


@pytest.fixture(scope="module")
def listed(trained, data, tmp_path_factory):
    """The tiny model with a shortlist of few tokens beside it."""
    directory, info = tmp_path_factory.mktemp("model") / "listed", read_info(find_model(trained))
    assert nmt("export", trained, "-o", directory) == 0
    shortlist = Shortlist.learn(open_data(data).train, info.source_size, info.target_size, likely=3, frequent=5)
    shortlist.save(directory)
    return directory


def everything(size):
    """A shortlist that leaves nothing out."""
    return Shortlist(np.zeros((size, 1), dtype=np.int32), np.arange(size, dtype=np.int32), size)


def test_learned_translation_probabilities_favour_the_right_words(data):
    opened = open_data(data)
    size = len(opened.tokenizers.source)
    learnt = Shortlist.learn(opened.train, size, size, likely=6, frequent=0)
    again = Shortlist.learn(opened.train, size, size, likely=6, frequent=0)
    assert np.array_equal(learnt.likely, again.likely)
    assert not len(learnt.frequent)
    target = opened.tokenizers.target
    for digit, word in enumerate(WORDS):
        tokens = {token for ids in opened.tokenizers.source.encode([word]) for token in ids}
        texts = "".join(target.pieces(learnt.likely[list(tokens)].ravel().tolist()))
        assert str(digit) in texts, word


def test_each_sentence_may_use_its_shortlist_and_required_tokens():
    likely = np.zeros((9, 2), dtype=np.int32)
    likely[5], likely[6] = (7, 8), (9, 0)
    shortlist = Shortlist(likely, np.array([10], dtype=np.int32), 20)
    constraints = [None, Phrases((Phrase.of([(13, 14)]), Phrase.of([(15,)], 0, 0)), prefix=(12,))]
    found = shortlist.candidates(np.array([[5, 2], [6, 2]]), constraints)
    assert found.tokens.tolist() == list(range(20))  # filled up to a round number, or all there are
    own = [set(found.tokens[row].tolist()) - set(range(SPECIAL)) for row in found.allowed]
    assert own == [{7, 8, 10}, {9, 10, 12, 13, 14}]


@pytest.mark.parametrize(
    ("precision", "method"), [(None, "beam"), ("int8", "beam"), ("bf16", "sampling"), (None, "mbr")]
)
def test_a_shortlist_of_all_tokens_changes_nothing(trained, precision, method):
    settings = {"method": method, "quantize": precision}
    plain = Translator.load(trained, "cpu", **settings)
    size = len(plain.tokenizers.target)
    every = Translator(plain.runtime, plain.tokenizers, plain.search, plain.handling, shortlist=everything(size))
    requests = [Request(LINES[0], prefix="3"), *LINES[1:]]
    expected, found = (one.translate(requests) for one in (plain, every))
    assert [one.candidates[0].text for one in found] == [one.candidates[0].text for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.candidates[0].log_prob == pytest.approx(other.candidates[0].log_prob, abs=1e-4)


def test_translations_keep_to_the_shortlist_and_do_not_depend_on_the_batch(listed):
    translator = Translator.load(listed, "cpu", quantize="int8", shortlist=True)
    together = translator.translate(LINES)
    alone = [translator.translate([line])[0] for line in LINES]
    assert [one.candidates[0].text for one in together] == [one.candidates[0].text for one in alone]
    shortlist, ids = translator.shortlist, translator.tokenizers.source.encode(LINES)
    for line, own in zip(together, ids, strict=True):
        allowed = set(shortlist.frequent.tolist()) | set(shortlist.likely[[*own, EOS]].ravel().tolist()) | {EOS}
        tokens = translator.tokenizers.target.encode([line.candidates[0].text])[0]
        pieces = set("".join(translator.tokenizers.target.pieces(tokens)))
        assert pieces <= set("".join(translator.tokenizers.target.pieces(sorted(allowed)))) | {"▁"}


def test_required_phrases_are_produced_whatever_the_shortlist(listed):
    translator = Translator.load(listed, "cpu", shortlist=True)
    requests = [Request(LINES[0], required=("zero one",)), Request(LINES[1], prefix="nine"), LINES[2]]
    found = translator.translate(requests)
    texts = [one.candidates[0].text for one in found]
    assert "zero one" in texts[0]
    assert texts[1].startswith("nine")
    assert not any(one.problems for one in found)


@torch.inference_mode()
def test_shortlisted_search_equals_search_of_a_reduced_model(tiny_model):
    """All else being forbidden is the same, but for the probability that the others had."""
    model = tiny_model("model.embedding.tie=none", "model.output_bias=true", vocabulary=12)
    model.output.bias.normal_()
    whole = TorchRuntime(model, torch.device("cpu"))
    source, length, _ = batch()
    tokens = np.array([0, 1, 2, 3, 5, 8, 11])
    candidates = Candidates(tokens, np.ones((3, len(tokens)), dtype=np.bool_))
    banned = [Phrases(tuple(Phrase.of([(token,)], 0, 0) for token in range(12) if token not in tokens))] * 3
    options = SearchOptions(beam_size=4, n_best=1, length_penalty=0.0)
    among = whole.restricted_to(candidates.tokens, candidates.allowed)
    constraints = candidates.constraints([Phrases(prefix=(8,))] * 3)
    found = candidates.originals(beam_search(among, source, length, [6] * 3, options, constraints=constraints))
    for (one,) in found:
        assert set(one.tokens) <= set(tokens.tolist())
        assert satisfies(Phrases(prefix=(8,)), one.tokens)
        assert satisfies(banned[0], one.tokens)
    small = assemble(model.config, 12, 12, reduce_weights(model, model_weights(model), "int8"))
    packed = TorchRuntime(small, torch.device("cpu")).restricted_to(candidates.tokens, candidates.allowed)
    memory, cache = packed.start(source, length)
    step = packed.step(torch.tensor([[1], [1], [1]]), memory, cache)
    inner, inner_cache = small.start(source, length)
    logits = small.step(torch.tensor([[1], [1], [1]]), inner, inner_cache).log_probs[..., torch.tensor(tokens)]
    torch.testing.assert_close(step.log_probs, torch.log_softmax(logits, dim=-1))


def test_shortlist_command_and_its_errors(listed, trained, onnx, tmp_path, capsys):
    text, output = tmp_path / "in", tmp_path / "out"
    text.write_text("".join(f"{line}\n" for line in LINES), "utf-8")
    assert nmt("translate", "-m", listed, "-i", text, "-o", output, "--shortlist", "--quantize", "int8") == 0
    expected = Translator.load(listed, "cpu", quantize="int8", shortlist=True).translate(LINES)
    assert output.read_text("utf-8").split("\n")[:-1] == [one.candidates[0].text for one in expected]
    assert nmt("translate", "-m", trained, "-i", text, "--shortlist") == 2
    assert "has no vocabulary shortlist" in capsys.readouterr().err
    with pytest.raises(UserError, match="single PyTorch model"):
        Translator.load([listed, listed], shortlist=True)
    with pytest.raises(UserError, match="single PyTorch model"):
        Translator.load(onnx, shortlist=True)
    info = read_info(listed)
    with pytest.raises(DataError, match="of another model"):
        Shortlist.load(listed, info.source_size + 1, info.target_size)
    (tmp_path / SHORTLIST).write_bytes((listed / SHORTLIST).read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged or cut short"):
        Shortlist.load(tmp_path, info.source_size, info.target_size)


def test_a_shortlist_excludes_weights(trained):
    with pytest.raises(UserError, match="needs a single PyTorch model"):
        Translator.load(trained, "cpu", weights=[1.0], shortlist=True)

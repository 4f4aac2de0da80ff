"""Pretrained encoders: the states of AutoModel, frozen parts, and the laws of models with them."""

import re
from functools import cache

import pytest
import torch

from nmtcli.config import ModelConfig
from nmtcli.data.batching import Sentences, pad
from nmtcli.interchange.encoders import EncoderFolder
from nmtcli.models.pretrained import PretrainedEncoder
from nmtcli.models.quantized import assemble, pack_floats, reduce_weights
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.finetuning import FirstEncoder
from nmtcli.train.freezing import freeze
from nmtcli.translate.runtimes.pytorch import TorchRuntime
from nmtcli.translate.search import SearchOptions, beam_search
from nmtcli.vocabulary import EOS, PAD
from tests.interchange.encoders import FAMILIES, LAYERS, LINES, POSITIONS, make
from tests.laws.test_model_laws import check_forward_equals_repeated_step

transformers = pytest.importorskip("transformers")

each_family = pytest.mark.parametrize("family", FAMILIES)
DECODERS = {
    "rnn": {"decoder": {"type": "rnn", "hidden_size": 16}, "attention": {"type": "additive"}},
    "transformer": {"decoder": {"type": "transformer", "hidden_size": 16}},
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The folder of each family."""

    @cache
    def open_family(family):
        return EncoderFolder.open(str(make(family, tmp_path_factory.mktemp("encoders") / family)))

    return open_family


def model_of(folder: EncoderFolder, decoder: str = "rnn", dropout: float = 0.0) -> Seq2Seq:
    """A model with this encoder."""
    tokenizer = folder.tokenizer()
    settings = {"type": "pretrained", **folder.settings(), "special_ids": tokenizer.special_ids}
    tree = {"embedding": {"size": 16, "tie": "target"}, "encoder": settings, "dropout": dropout, **DECODERS[decoder]}
    torch.manual_seed(0)
    model = Seq2Seq(ModelConfig.model_validate(tree), len(tokenizer), 12)
    FirstEncoder(folder).give_weights(model, None)
    return model.eval()


def source_of(folder: EncoderFolder) -> tuple[torch.Tensor, torch.Tensor]:
    """The test lines as a padded batch [B, S], and their lengths."""
    ids, length = pad(Sentences.of(folder.tokenizer().encode([line[:10] for line in LINES])), after=EOS)
    return torch.as_tensor(ids), torch.as_tensor(length)


@each_family
@torch.no_grad()
def test_states_are_those_of_auto_model(opened, family):
    folder = opened(family)
    theirs = transformers.AutoModel.from_pretrained(folder.path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder.path)
    read = tokenizer([line[:10] for line in LINES], return_tensors="pt", padding=True)
    expected = theirs(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).last_hidden_state
    source, length = source_of(folder)
    encoded = model_of(folder).encoder(source, length)
    assert torch.equal(encoded.mask, read["attention_mask"][:, 1:].bool())
    real = encoded.mask
    torch.testing.assert_close(encoded.states[real], expected[:, 1:][real], atol=1e-5, rtol=0)
    for row, count in enumerate(length.tolist()):
        torch.testing.assert_close(encoded.summary[row], expected[row, 1 : count + 1].mean(0), atol=1e-5, rtol=0)


@each_family
@torch.no_grad()
def test_tokens_after_the_last_position_are_truncated_as_by_transformers(opened, family):
    folder = opened(family)
    line = "one two three " * POSITIONS
    theirs = transformers.AutoModel.from_pretrained(folder.path).eval()
    read = transformers.AutoTokenizer.from_pretrained(folder.path)(
        [line], return_tensors="pt", truncation=True, max_length=POSITIONS
    )
    expected = theirs(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).last_hidden_state[0, 1:]
    ids, length = pad(Sentences.of(folder.tokenizer().encode([line, "one"])), after=EOS)
    encoded = model_of(folder).encoder(torch.as_tensor(ids), torch.as_tensor(length))
    assert encoded.states.shape[1] == ids.shape[1]
    assert encoded.mask.sum(1).tolist() == [POSITIONS - 1, length[1]]
    torch.testing.assert_close(encoded.states[0, : POSITIONS - 1], expected, atol=1e-5, rtol=0)


@each_family
def test_no_weight_is_without_use(opened, family):
    """Every weight has a gradient: DistributedDataParallel waits for each."""
    folder = opened(family)
    model = model_of(folder).train()
    source, length = source_of(folder)
    model(source, length, torch.full((len(source), 4), 5)).sum().backward()
    assert all(weight.grad is not None for name, weight in model.named_parameters() if name != "output.weight")
    assert model.source_embedding is None


@each_family
@pytest.mark.parametrize("top", [0, 1, LAYERS])
def test_frozen_layers_have_no_gradient_and_no_dropout(opened, family, top):
    model = model_of(opened(family))
    freeze(model, (), top)
    model.train()
    assert isinstance(model.encoder, PretrainedEncoder)
    trained = {name for name, weight in model.encoder.model.named_parameters() if weight.requires_grad}
    layers = {match[1] for name in trained if (match := re.search(r"\blayers?\.(\d+)\.", name))}
    assert len(layers) == top
    assert not any("embeddings" in name for name in trained)
    for module in model.encoder.model.modules():
        weights = list(module.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            assert not any(part.training for part in module.modules())
    source, length = source_of(opened(family))
    with torch.random.fork_rng():
        one, other = (model.encoder(source, length).states for _ in range(2))
    assert torch.equal(one, other) == (top == 0 or family == "modernbert")  # whose dropout is 0
    assert one.requires_grad == (top > 0)


@pytest.mark.parametrize("decoder", DECODERS)
def test_forward_equals_repeated_step(opened, decoder):
    model = model_of(opened("bert"), decoder)
    check_forward_equals_repeated_step(model)


@each_family
@pytest.mark.parametrize("decoder", DECODERS)
@torch.no_grad()
def test_padding_changes_nothing(opened, family, decoder):
    folder = opened(family)
    model = model_of(folder, decoder)
    source, length = source_of(folder)
    target = torch.randint(4, 12, (len(source), 5))
    padded = torch.cat([source, torch.full((len(source), 4), PAD)], dim=1)
    torch.testing.assert_close(model(source, length, target), model(padded, length, target), atol=1e-5, rtol=1e-4)


@each_family
@pytest.mark.parametrize("precision", ["int8", "bf16"])
@torch.no_grad()
def test_quantized_models_translate_alike(opened, family, precision):
    """Matrices of the encoder are packed too; the states stay near."""
    folder = opened(family)
    model = model_of(folder)
    source, length = source_of(folder)
    expected = model.encoder(source, length)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    sizes = model.config, len(folder.tokenizer()), 12
    reduced = assemble(*sizes, reduce_weights(model, weights, precision))
    states = reduced.encoder(source, length).states
    near = torch.nn.functional.cosine_similarity(states[expected.mask], expected.states[expected.mask], dim=-1)
    assert near.min() > 0.98
    found = beam_search(
        TorchRuntime(reduced, torch.device("cpu")), source, length, [8] * len(source), SearchOptions(beam_size=2)
    )
    assert len(found) == len(source)


@each_family
@torch.no_grad()
def test_packed_for_a_search_the_states_are_the_same(opened, family):
    folder = opened(family)
    model = model_of(folder)
    source, length = source_of(folder)
    expected = model.encoder(source, length)
    packed = pack_floats(model).encoder(source, length)
    torch.testing.assert_close(packed.states[expected.mask], expected.states[expected.mask], atol=1e-4, rtol=1e-4)

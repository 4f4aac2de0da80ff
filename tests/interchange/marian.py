"""Small MarianMT models made with transformers: random weights, real SentencePiece models."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import sentencepiece
import torch

TAG = ">>nld<<"
_SYLLABLES = ["ka", "lo", "mi", "ne", "pu", "ra", "so", "ti", "vu", "ze", "scha", "für", "ñu"]


@dataclass(frozen=True)
class Kind:
    """What a model looks like."""

    seed: int = 0
    width: int = 16
    layers: tuple[int, int] = (2, 2)
    heads: tuple[int, int] = (2, 2)
    inner: tuple[int, int] = (24, 24)
    activation: str = "swish"
    scale: bool = True
    separate: bool = False  # vocabularies
    tied: bool = True  # output layer and target embeddings
    same_model: bool = False  # one SentencePiece model
    tagged: bool = False  # a language tag in the vocabulary
    bpe: bool = False


def sentences(seed: int, count: int) -> list[str]:
    """Lines of invented words."""
    generator = random.Random(seed)
    words = ["".join(generator.choices(_SYLLABLES[seed % 5 :], k=generator.randint(1, 4))) for _ in range(80)]
    return [
        " ".join(generator.choices(words, k=generator.randint(1, 7))) + generator.choice(".?!") for _ in range(count)
    ]


@cache
def _sentencepiece(seed: int, size: int, kind: str) -> bytes:
    from io import BytesIO

    model = BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(seed, 400)),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return model.getvalue()


def _pieces(model: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor.from_proto(model)
    return [processor.id_to_piece(number) for number in range(3, len(processor))]


def _vocabulary(pieces: Iterable[str], seed: int) -> dict[str, int]:
    ordinary = list(dict.fromkeys(pieces))
    random.Random(seed).shuffle(ordinary)
    return {piece: number for number, piece in enumerate(["</s>", "<unk>", *ordinary, "<pad>"])}


def make(folder: Path, kind: Kind) -> Path:
    """Write the folder of a model, with transformers."""
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    folder.mkdir(parents=True)
    types = "bpe" if kind.bpe else "unigram"
    source = _sentencepiece(2 * kind.seed, 70, types)
    target = source if kind.same_model else _sentencepiece(2 * kind.seed + 1, 90, types)
    (folder / "source.spm").write_bytes(source)
    (folder / "target.spm").write_bytes(target)
    tags = [TAG] * kind.tagged
    # the last piece of the source model stands for one that Marian's training data did not have
    sides = [*tags, *_pieces(source)[:-1]], _pieces(target)
    if kind.separate:
        vocabularies = [_vocabulary(side, kind.seed) for side in sides]
        (folder / "target_vocab.json").write_text(json.dumps(vocabularies[1]), "utf-8")
    else:
        vocabularies = [_vocabulary([*sides[0], *sides[1]], kind.seed)] * 2
    (folder / "vocab.json").write_text(json.dumps(vocabularies[0]), "utf-8")
    torch.manual_seed(kind.seed)
    padding = [vocabulary["<pad>"] for vocabulary in vocabularies]
    config = MarianConfig(
        vocab_size=len(vocabularies[0]),
        decoder_vocab_size=len(vocabularies[1]),
        d_model=kind.width,
        encoder_layers=kind.layers[0],
        decoder_layers=kind.layers[1],
        encoder_attention_heads=kind.heads[0],
        decoder_attention_heads=kind.heads[1],
        encoder_ffn_dim=kind.inner[0],
        decoder_ffn_dim=kind.inner[1],
        activation_function=kind.activation,
        scale_embedding=kind.scale,
        share_encoder_decoder_embeddings=not kind.separate,
        tie_word_embeddings=kind.tied,
        max_position_embeddings=128,
        pad_token_id=padding[0],
        decoder_start_token_id=padding[1],
        eos_token_id=0,
        forced_eos_token_id=None,
        init_std=0.3,
    )
    model = MarianMTModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:  # biases and gains of transformers begin with zeros and ones
                weight.add_(0.2 * torch.randn_like(weight))
        # else the output repeats the input, whatever the source
        for layer in model.model.decoder.layers:
            layer.encoder_attn.out_proj.weight.mul_(6)
            layer.encoder_attn.q_proj.weight.mul_(2)
            layer.encoder_attn.k_proj.weight.mul_(2)
        model.model.decoder.layers[-1].final_layer_norm.weight.normal_(std=4)
        model.final_logits_bias.normal_(std=0.5)
        model.final_logits_bias[0, padding[1]] = 0
        for table in {model.model.encoder.embed_tokens, model.model.decoder.embed_tokens}:
            table.weight[padding[0] if table is model.model.encoder.embed_tokens else padding[1]] = 0
        _let_sentences_end(model, len(vocabularies[0]), padding)
    model.generation_config.bad_words_ids = [[padding[1]]]
    model.generation_config.num_beams = 4
    model.generation_config.max_length = 60
    model.save_pretrained(folder)
    tokenizer = MarianTokenizer(
        source_spm=str(folder / "source.spm"),
        target_spm=str(folder / "target.spm"),
        vocab=str(folder / "vocab.json"),
        target_vocab_file=str(folder / "target_vocab.json") if kind.separate else None,
        separate_vocabs=kind.separate,
        source_lang="aa",
        target_lang="bb",
    )
    tokenizer.save_pretrained(folder)
    return folder


def _let_sentences_end(model, size: int, padding: list[int]) -> None:
    """Raise the bias of EOS, so that most greedy translations of random pieces end, but are not empty."""
    source = torch.randint(2, size - 1, (20, 8))
    shares = {}
    for bias in range(0, 40, 2):
        model.final_logits_bias[0, 0] = bias
        found = model.generate(source, num_beams=1, max_length=20, bad_words_ids=[[padding[1]]])[:, 1:]
        ends = torch.where((found == 0).any(dim=1), (found == 0).int().argmax(dim=1), 0)
        shares[bias] = (ends > 1).float().mean().item()
        if shares[bias] > 0.7:
            break
    model.final_logits_bias[0, 0] = max(shares, key=shares.__getitem__)


def random_kind(seed: int) -> Kind:
    """A kind of model by chance."""
    generator = random.Random(seed)
    heads = generator.choice([(2, 2), (4, 2), (1, 4)])
    return Kind(
        seed,
        width=generator.choice([8, 16, 24]),
        layers=(generator.randint(1, 3), generator.randint(1, 3)),
        heads=heads,
        inner=(generator.choice([8, 20]), generator.choice([12, 32])),
        activation=["swish", "relu", "gelu"][seed % 3],
        scale=generator.random() < 0.7,
        separate=seed % 4 == 1,
        tied=seed % 5 != 2,
        same_model=seed % 4 == 2,
        tagged=seed % 2 == 0,
    )

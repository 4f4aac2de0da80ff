"""Write a Transformer as a MarianMT model that transformers and CTranslate2's converter open.

Both sides share one `vocab.json`, since CTranslate2's converter reads one only; with separate tokenizers it has the
pieces of both, and each side its own embeddings. PAD and BOS, which our search never writes, become the one `<pad>` of
Marian, without probability. The model must meet the conditions of the format (`nmtcli.export.conditions.unmet`).
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nmtcli.checkpoint import ModelInfo, model_weights, save_tensors
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.interchange.marian_reader import (
    ACTIVATIONS,
    CONFIG,
    GENERATION,
    NEVER,
    SOURCE_MODEL,
    TARGET_MODEL,
    TOKENIZER,
    VOCABULARY,
    WEIGHTS,
)
from nmtcli.interchange.marian_vocabulary import EOS_PIECE, PAD_PIECE, UNK_PIECE, marian_ids
from nmtcli.interchange.marian_weights import BIAS, OUTPUT, SHARED, SOURCE, TARGET, column_order, layer_weights
from nmtcli.models.seq2seq import Seq2Seq

LONGEST = 512  # pieces of a sentence, as of OPUS-MT models


@torch.no_grad()
def write_marian(model: Seq2Seq, info: ModelInfo, tokenizers: Tokenizers, directory: Path) -> None:
    """Write the files into an existing directory."""
    source, target = marian_ids(tokenizers.source, read=True), marian_ids(tokenizers.target, read=False)
    pieces = [*dict.fromkeys([EOS_PIECE, UNK_PIECE, *source, *target]), PAD_PIECE]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    rows = [torch.tensor([ids.get(piece, -1) for piece in pieces]) for ids in (source, target)]
    save_tensors(directory / WEIGHTS, _weights(model, *rows), {"format": "pt"})
    padding = vocabulary[PAD_PIECE]
    _write(directory / VOCABULARY, vocabulary)
    _write(directory / CONFIG, _settings(model, len(pieces), padding))
    _write(directory / GENERATION, _generation(info, padding))
    _write(directory / TOKENIZER, _tokenizer_settings(info))
    tokenizers.source.save(directory / SOURCE_MODEL)
    tokenizers.target.save(directory / TARGET_MODEL)


def _weights(model: Seq2Seq, source: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Marian's weights by name; `source` and `target` are our ids of its pieces [V], -1 for none."""
    config = model.config
    weights, order = model_weights(model), column_order(config.embedding.size)
    columns = order.argsort()

    def table(name: str, rows: Tensor) -> Tensor:
        name = model.tied.get(name, name)
        return weights[name][rows.clamp(min=0)][:, columns].masked_fill((rows < 0)[:, None], 0.0)

    never = target < 0  # [V]
    if config.embedding.tie == "all":
        tables = {SHARED: table("source_embedding.weight", source)}
        # tags that fine-tuning has changed as they are read: with that row they would be written too often
        never |= (tables[SHARED] != table("source_embedding.weight", target)).any(dim=1)
    else:
        tables = {SOURCE: table("source_embedding.weight", source), TARGET: table("target_embedding.weight", target)}
    if config.embedding.tie == "none":
        tables[OUTPUT] = table("output.weight", target)
    bias = weights["output.bias"] if config.output_bias else torch.zeros(model.output.out_features)
    tables[BIAS] = bias[target.clamp(min=0)].masked_fill(never, NEVER)[None]
    for one in layer_weights(config.encoder.layers, config.decoder.layers):
        tables |= one.exported(weights[one.ours], order)
    return tables


def _settings(model: Seq2Seq, size: int, padding: int) -> dict[str, Any]:
    """`config.json`."""
    config = model.config
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    settings: dict[str, Any] = {
        "architectures": ["MarianMTModel"],
        "model_type": "marian",
        "is_encoder_decoder": True,
        "vocab_size": size,
        "decoder_vocab_size": size,
        "d_model": config.embedding.size,
        "activation_function": names[config.encoder.activation],
        "scale_embedding": config.embedding.scale,
        "share_encoder_decoder_embeddings": config.embedding.tie == "all",
        "tie_word_embeddings": config.embedding.tie != "none",
        "max_position_embeddings": LONGEST,
        "static_position_embeddings": True,
        "normalize_before": False,
        "normalize_embedding": False,
        "add_final_layer_norm": False,
        "dropout": config.dropout,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
        "pad_token_id": padding,
        "decoder_start_token_id": padding,
        "torch_dtype": "float32",
    }
    for name, half in (("encoder", config.encoder), ("decoder", config.decoder)):
        settings[f"{name}_layers"] = half.layers
        settings[f"{name}_attention_heads"] = half.heads
        settings[f"{name}_ffn_dim"] = half.feedforward_size or 4 * half.hidden_size
    return settings


def _generation(info: ModelInfo, padding: int) -> dict[str, Any]:
    """`generation_config.json`, with the decoding settings that `generate` has."""
    search = info.search
    return {
        "bad_words_ids": [[padding]],
        "renormalize_logits": True,
        "num_beams": search.beam_size,
        "length_penalty": search.length_penalty,
        "no_repeat_ngram_size": search.no_repeat_ngram,
        "max_length": LONGEST,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "forced_eos_token_id": 0,
        "pad_token_id": padding,
        "decoder_start_token_id": padding,
    }


def _tokenizer_settings(info: ModelInfo) -> dict[str, Any]:
    """`tokenizer_config.json`."""
    return {
        "tokenizer_class": "MarianTokenizer",
        "source_lang": info.source_language,
        "target_lang": info.target_language,
        "model_max_length": LONGEST,
        "separate_vocabs": False,
        "eos_token": EOS_PIECE,
        "unk_token": UNK_PIECE,
        "pad_token": PAD_PIECE,
        "sp_model_kwargs": {},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8")

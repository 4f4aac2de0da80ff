"""Read and modify SentencePiece's model file, a protocol buffer.

Only the needed fields are declared here, with their numbers in sentencepiece_model.proto; all others are preserved. The
Python module of the format that comes with SentencePiece needs the newest protobuf.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sentencepiece

from nmtcli.data import normalization
from nmtcli.vocabulary import BOS, EOS, PAD, UNK


@dataclass(frozen=True)
class Pieces:
    """The pieces of a model."""

    type: str  # unigram, bpe, word or char
    ordinary: dict[str, int]  # ids of the pieces of text
    symbols: dict[str, int]  # ids of the user-defined symbols


_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED = 1, 2, 3, 4, 5  # types of a piece
_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}  # types of a model

# message: (name of the field, its number, its kind, its default) …
_FIELDS: dict[str, list[tuple[str, int, str, str]]] = {
    "Piece": [("piece", 1, "string", ""), ("score", 2, "float", ""), ("type", 3, "int32", str(_NORMAL))],
    "TrainerSpec": [
        ("model_type", 3, "int32", "1"),
        ("vocab_size", 4, "int32", "8000"),
        ("unk_id", 40, "int32", "0"),
        ("bos_id", 41, "int32", "1"),
        ("eos_id", 42, "int32", "2"),
        ("pad_id", 43, "int32", "-1"),
        ("bos_piece", 46, "string", "<s>"),
        ("eos_piece", 47, "string", "</s>"),
        ("pad_piece", 48, "string", "<pad>"),
    ],
    "NormalizerSpec": [
        ("name", 1, "string", ""),
        ("precompiled_charsmap", 2, "bytes", ""),
        ("add_dummy_prefix", 3, "bool", "true"),
        ("remove_extra_whitespaces", 4, "bool", "true"),
        ("normalization_rule_tsv", 6, "string", ""),
    ],
    "Model": [
        ("pieces", 1, "Piece", ""),
        ("trainer_spec", 2, "TrainerSpec", ""),
        ("normalizer_spec", 3, "NormalizerSpec", ""),
    ],
}


@cache
def _model_message() -> Any:
    """The message class of a model; built at first use, since the import of protobuf is slow."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_type = descriptor_pb2.FieldDescriptorProto
    kinds = {
        "string": field_type.TYPE_STRING,
        "bytes": field_type.TYPE_BYTES,
        "float": field_type.TYPE_FLOAT,
        "int32": field_type.TYPE_INT32,
        "bool": field_type.TYPE_BOOL,
    }
    file = descriptor_pb2.FileDescriptorProto(name="nmtcli_pieces.proto", package="nmtcli", syntax="proto2")
    for message, fields in _FIELDS.items():
        declared = file.message_type.add(name=message)
        for name, number, kind, default in fields:
            label = field_type.LABEL_REPEATED if name == "pieces" else field_type.LABEL_OPTIONAL
            field = declared.field.add(name=name, number=number, label=label)
            if kind in kinds:
                field.type = kinds[kind]
                field.default_value = default
            else:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".nmtcli.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nmtcli.Model"))


def parse(model: bytes) -> Any:
    """The model as a message. Raises ValueError if it is not a SentencePiece model."""
    from google.protobuf.message import DecodeError

    try:
        return _model_message().FromString(model)
    except DecodeError:
        raise ValueError("not a SentencePiece model") from None


def read_pieces(model: bytes) -> Pieces:
    """The pieces of a model by kind. Raises ValueError if it is not a SentencePiece model."""
    proto = parse(model)
    ordinary, symbols = (
        {piece.piece: number for number, piece in enumerate(proto.pieces) if piece.type == kind}
        for kind in (_NORMAL, _USER_DEFINED)
    )
    return Pieces(_TYPES[proto.trainer_spec.model_type], ordinary, symbols)


def special_ids(processor: sentencepiece.SentencePieceProcessor) -> tuple[int, int, int, int]:
    """The ids of pad, bos, eos and unk; -1 for one that is missing."""
    return processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id()


def without_normalization(model: bytes) -> bytes:
    """The model with the same segmentation but without normalisation, for text with `▁` for each space."""
    proto = parse(model)
    spec = proto.normalizer_spec
    spec.precompiled_charsmap = b""
    spec.add_dummy_prefix = False
    spec.remove_extra_whitespaces = False
    return bytes(proto.SerializeToString())


def without_rule_file(model: bytes) -> bytes:
    """The model with the name of our normalisation in place of the path of its rule file, if it has one."""
    proto = parse(model)
    spec = proto.normalizer_spec
    if not spec.normalization_rule_tsv:
        return model
    spec.ClearField("normalization_rule_tsv")
    spec.name = normalization.NAME
    return bytes(proto.SerializeToString(deterministic=True))


def extended(model: bytes, symbols: Sequence[str] = (), unused: Sequence[str] = ()) -> bytes:
    """The model with further pieces after its own: user-defined symbols, and pieces that only decoding uses.

    A symbol may start with `▁`, the space before it. Unused pieces change the segmentation of a BPE model.
    """
    proto = parse(model)
    for kind, pieces in ((_USER_DEFINED, symbols), (_UNUSED, unused)):
        proto.pieces.extend(type(proto.pieces[0])(piece=piece, score=0.0, type=kind) for piece in pieces)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    return bytes(proto.SerializeToString(deterministic=True))


def renumbered(model: bytes) -> bytes:
    """The model with the ids of `nmtcli.vocabulary`; the other pieces keep their order and scores.

    A missing special piece is added under the name in the model's settings. A model with these ids is returned
    unchanged. Raises ValueError if it is not a SentencePiece model, or if a special piece is ordinary text in it.
    """
    try:
        ids = special_ids(sentencepiece.SentencePieceProcessor.from_proto(model))
    except RuntimeError:
        raise ValueError("not a SentencePiece model") from None
    if ids == (PAD, BOS, EOS, UNK):
        return model
    old = parse(model)
    others = {piece.piece: piece for piece in old.pieces if piece.type != _UNKNOWN}
    special = []
    for name in (old.trainer_spec.pad_piece, old.trainer_spec.bos_piece, old.trainer_spec.eos_piece):
        piece = others.pop(name, None)
        if piece is not None and piece.type not in {_CONTROL, _USER_DEFINED}:
            raise ValueError(f"its piece {name} is ordinary text, not a special piece")
        special.append(type(old.pieces[0])(piece=name, type=_CONTROL))
    new = type(old)()
    new.CopyFrom(old)
    del new.pieces[:]
    new.pieces.extend([*special, old.pieces[ids[3]], *others.values()])
    spec = new.trainer_spec
    spec.pad_id, spec.bos_id, spec.eos_id, spec.unk_id = PAD, BOS, EOS, UNK
    spec.vocab_size = len(new.pieces)
    return bytes(new.SerializeToString())

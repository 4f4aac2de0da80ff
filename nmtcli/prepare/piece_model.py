"""SentencePiece's model file, a protocol buffer: what its own interface does not tell, and ours made of another.

`sentencepiece_model_pb2` comes with SentencePiece; the functions import it late, for protobuf takes its time.
"""

from dataclasses import dataclass
from typing import Any

import sentencepiece

from nmtcli.vocabulary import BOS, EOS, PAD, UNK


@dataclass(frozen=True)
class Pieces:
    """What a model is made of."""

    type: str  # unigram, bpe, word or char
    ordinary: dict[str, int]  # ids of the pieces of text
    symbols: dict[str, int]  # ids of the user-defined symbols


def parse(model: bytes) -> Any:
    """The model as a message, ModelProto. Raises ValueError if it is none."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        return sentencepiece_model_pb2.ModelProto.FromString(model)  # type: ignore[attr-defined]
    except DecodeError:
        raise ValueError("not a SentencePiece model") from None


def read_pieces(model: bytes) -> Pieces:
    """The pieces of a model by kind. Raises ValueError if it is none."""
    proto = parse(model)
    kinds = proto.SentencePiece
    ordinary, symbols = (
        {piece.piece: number for number, piece in enumerate(proto.pieces) if piece.type == kind}
        for kind in (kinds.NORMAL, kinds.USER_DEFINED)
    )
    spec = proto.trainer_spec
    return Pieces(spec.ModelType.Name(spec.model_type).lower(), ordinary, symbols)


def special_ids(processor: sentencepiece.SentencePieceProcessor) -> tuple[int, int, int, int]:
    """The ids of pad, bos, eos and unk; -1 for one that is missing."""
    return processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id()


def without_normalization(model: bytes) -> bytes:
    """A model that segments alike but takes the text as it is, with `▁` for each blank and none added in front."""
    proto = parse(model)
    spec = proto.normalizer_spec
    spec.precompiled_charsmap = b""
    spec.add_dummy_prefix = False
    spec.remove_extra_whitespaces = False
    return bytes(proto.SerializeToString())


def renumbered(model: bytes) -> bytes:
    """The model with our special ids; the other pieces follow in their order, with their scores.

    A special piece that is missing is added under the name the model would give it. A model that has our ids comes back
    unchanged. Raises ValueError if it is no SentencePiece model, or if it takes a special piece for ordinary text.
    """
    try:
        ids = special_ids(sentencepiece.SentencePieceProcessor.from_proto(model))
    except RuntimeError:
        raise ValueError("not a SentencePiece model") from None
    if ids == (PAD, BOS, EOS, UNK):
        return model
    old = parse(model)
    kinds = old.SentencePiece
    others = {piece.piece: piece for piece in old.pieces if piece.type != kinds.UNKNOWN}
    special = []
    for name in (old.trainer_spec.pad_piece, old.trainer_spec.bos_piece, old.trainer_spec.eos_piece):
        piece = others.pop(name, None)
        if piece is not None and piece.type not in {kinds.CONTROL, kinds.USER_DEFINED}:
            raise ValueError(f"its piece {name} is ordinary text, not a special one")
        special.append(kinds(piece=name, type=kinds.CONTROL))
    new = type(old)()
    new.CopyFrom(old)
    del new.pieces[:]
    new.pieces.extend([*special, old.pieces[ids[3]], *others.values()])
    spec = new.trainer_spec
    spec.pad_id, spec.bos_id, spec.eos_id, spec.unk_id = PAD, BOS, EOS, UNK
    spec.vocab_size = len(new.pieces)
    return bytes(new.SerializeToString())

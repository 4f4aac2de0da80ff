"""The vocabularies of MarianMT models as tokenizers of ours.

Marian segments text by `source.spm` and `target.spm` and looks the pieces up in `vocab.json`; decoding may give any
entry of it. A tokenizer of ours has all of them: the pieces of the SentencePiece model, with the ids of
`nmtcli.vocabulary`, then pieces that are only decoded. A language tag such as `>>fra<<` becomes a symbol of the source
side. Marian cuts the tag off before segmentation; the symbol includes the space before it, so no piece `▁` is left.
"""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from nmtcli.data.digests import sha256
from nmtcli.data.piece_model import extended, read_pieces, renumbered
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import DataError, UserError
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL, UNK

EOS_PIECE, UNK_PIECE, PAD_PIECE, BOS_PIECE = "</s>", "<unk>", "<pad>", "<s>"
_TAG = re.compile(r">>.*<<")
Vocabulary = Mapping[str, int]


@dataclass(frozen=True)
class Side:
    """A tokenizer, and the Marian id of each of its pieces."""

    tokenizer: Tokenizer
    read: list[int]  # the id that Marian reads; -1 for none
    written: list[int]  # the id that Marian writes; -1 for none


def tags(vocabulary: Iterable[str]) -> list[str]:
    """The language tags of a vocabulary."""
    return [piece for piece in vocabulary if _TAG.fullmatch(piece)]


def tokenizers_of(
    models: tuple[Path, Path], vocabularies: tuple[Vocabulary, Vocabulary], never_written: Set[str]
) -> tuple[Side, Side, Tokenizers]:
    """Both sides. They have one tokenizer if both SentencePiece models and both vocabularies are the same.

    A BPE model need not have the pieces that are never written. Raises UserError and DataError.
    """
    source_model, target_model = (_read(path) for path in models)
    source_vocabulary, target_vocabulary = vocabularies
    symbols = [f"▁{tag}" for tag in tags(source_vocabulary)]
    if sha256(source_model) == sha256(target_model) and source_vocabulary == target_vocabulary:
        side = _side(models[1], target_model, target_vocabulary, symbols, True, never_written)
        return side, side, Tokenizers(side.tokenizer, side.tokenizer)
    source = _side(models[0], source_model, source_vocabulary, symbols)
    target = _side(models[1], target_model, target_vocabulary, (), True, never_written)
    return source, target, Tokenizers(source.tokenizer, target.tokenizer)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot read the tokenizer: {error.strerror}") from None


def _side(
    path: Path,
    given: bytes,
    vocabulary: Vocabulary,
    symbols: Sequence[str] = (),
    decoded: bool = False,
    never_written: Set[str] = frozenset(),
) -> Side:
    """A side of a SentencePiece model; `decoded`: with pieces of the vocabulary that the model lacks."""
    try:
        model = renumbered(given)
        known = read_pieces(model)
        own = {*Tokenizer(model).pieces(range(len(Tokenizer(model))))}
        special = {EOS_PIECE, UNK_PIECE, PAD_PIECE, BOS_PIECE}
        unused = [piece for piece in vocabulary if piece not in own | special] if decoded else []
        if known.type == "bpe":  # which cannot be completed
            unused = [piece for piece in unused if piece not in never_written]
        if unused and known.type == "bpe":
            raise UserError(
                f"{path}: a BPE model without {len(unused):,} pieces of the vocabulary, such as {unused[0]}",
                "only a unigram model can be completed",
            )
        added = [symbol for symbol in symbols if symbol not in own]  # a model that nmt exported has them
        tokenizer = Tokenizer(extended(model, added, unused) if added or unused else model)
    except ValueError as error:
        raise DataError(f"{path}: cannot use this tokenizer: {error}", "copy it again") from None
    unknown = vocabulary[UNK_PIECE]
    read, written = [-1] * len(tokenizer), [-1] * len(tokenizer)
    for number, piece in enumerate(tokenizer.pieces(range(SPECIAL, len(tokenizer))), SPECIAL):
        name = piece.removeprefix("▁") if piece in symbols else piece
        read[number] = vocabulary.get(name, unknown)
        written[number] = -1 if piece in symbols else vocabulary.get(name, -1)
    for special_id, piece in ((EOS, EOS_PIECE), (UNK, UNK_PIECE)):
        read[special_id] = written[special_id] = vocabulary[piece]
    assert read[PAD] == read[BOS] == -1
    return Side(tokenizer, read, written)


def marian_ids(tokenizer: Tokenizer, read: bool) -> dict[str, int]:
    """The names that the pieces of a tokenizer have in Marian's vocabulary, each with our id.

    A tag that was read from a Marian model loses the space before it again. The tokenizer of both sides has such a tag
    twice: with the space, which is `read`, and without, which is written.
    """
    pieces = tokenizer.pieces(range(SPECIAL, len(tokenizer)))
    ids = {piece: number for number, piece in enumerate(pieces, SPECIAL)}
    ids |= {EOS_PIECE: EOS, UNK_PIECE: UNK}
    names: dict[str, int] = {}
    for piece, number in ids.items():
        spaced = piece.startswith("▁") and _TAG.fullmatch(piece[1:]) is not None
        name = piece.removeprefix("▁") if spaced else piece
        if name not in names or spaced == read:
            names[name] = number
    return names

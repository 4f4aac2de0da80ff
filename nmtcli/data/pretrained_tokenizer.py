"""The tokenizer of a pretrained encoder (BERT and others) as a tokenizer of ours, for the source side.

The file is a `tokenizer.json` of the library `tokenizers`: WordPiece, SentencePiece's unigram model or byte-level BPE.
Its `padding` has the id of padding, its `truncation` the positions of the encoder. Our ids are those of
`nmtcli.vocabulary` for padding, the token before a sentence, the token after it and the unknown token, then all other
ids of the encoder in their order (`vocabulary_order`). So a sentence has the ids that `AutoTokenizer` gives it, under
other numbers. The name of a special token within a text, such as [SEP], is text or UNK.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nmtcli.data.tokenizer import Tokenizer, one_line
from nmtcli.errors import UserError
from nmtcli.vocabulary import EOS, SPECIAL, UNK, vocabulary_order

_INSTALL = "pip install 'nmtcli[pretrained]'"
_UNKNOWN = "⁇"


class PretrainedTokenizer(Tokenizer):
    """The tokenizer of a pretrained encoder. It encodes and decodes; it is not trained and has no symbols."""

    def __init__(self, model: bytes) -> None:
        """Raises ValueError unless `model` is a tokenizer.json with padding, truncation and one token on each side."""
        try:
            from tokenizers import Tokenizer as Backend  # noqa: PLC0415 - an extra
        except ImportError:
            raise UserError("the tokenizer of a pretrained encoder needs transformers", _INSTALL) from None
        try:
            settings = json.loads(model)
            self._backend = Backend.from_str(model.decode())
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(f"not a tokenizer.json: {str(error).splitlines()[0]}") from None
        if not settings.get("padding") or not settings.get("truncation"):
            raise ValueError("it has no padding or no truncation")
        self.max_tokens = settings["truncation"]["max_length"] - 2  # of a sentence
        self._backend.no_padding()
        self._backend.no_truncation()
        self._backend.encode_special_tokens = True
        around = self._backend.encode("").ids
        if len(around) != 2:
            raise ValueError(f"it adds {len(around)} tokens to a sentence, not one before and one after it")
        (before, after), pad = around, settings["padding"]["pad_id"]
        inner = settings["model"]
        unknown = inner.get("unk_id")
        if unknown is None:
            unknown = self._backend.token_to_id(inner.get("unk_token") or settings["padding"]["pad_token"])
        self._model = model
        self._unknown = unknown
        self.special_ids = pad, before, after, unknown
        names = self._backend.get_vocab()
        size = max(names.values()) + 1
        self._theirs = np.array(vocabulary_order(self.special_ids, size))
        self._ours = np.zeros(size, np.int32)
        self._ours[self._theirs[::-1]] = np.arange(len(self._theirs))[::-1]  # of an id twice in the order, the first
        self._prefix = inner.get("continuing_subword_prefix") if inner["type"] == "WordPiece" else None
        self._added = {one["id"] for one in settings["added_tokens"]}
        self._byte_level = "ByteLevel" in {
            kind for part in ("pre_tokenizer", "decoder") for kind in _kinds(settings[part])
        }
        self.type = inner["type"].lower()

    @property
    def names(self) -> list[str]:
        """The name of each piece in the file of the encoder, [vocabulary]."""
        by_id = {number: name for name, number in self._backend.get_vocab().items()}
        return [by_id.get(number, "") for number in self._theirs.tolist()]

    def __len__(self) -> int:
        return len(self._theirs)

    @cached_property
    def symbols(self) -> frozenset[str]:
        """None: an encoder has no embeddings of further symbols."""
        return frozenset()

    @cached_property
    def byte_pieces(self) -> NDArray[np.bool_]:
        """No id; a byte-level piece is written as text."""
        return np.zeros(len(self), np.bool_)

    @cached_property
    def word_starts(self) -> NDArray[np.bool_]:
        """Which ids start a word, [vocabulary]; WordPiece replaces a whole word by UNK."""
        starts = np.array([piece.startswith("▁") for piece in self._pieces])
        starts[:SPECIAL] = False
        starts[UNK] = self._prefix is not None
        return starts

    @cached_property
    def spanning_spaces(self) -> NDArray[np.bool_]:
        """Which ids have a space after their first character, [vocabulary]."""
        return np.array(["▁" in piece[1:] for piece in self._pieces])

    def encode(self, lines: list[str], threads: int | None = None) -> list[list[int]]:
        """See `Tokenizer.encode`."""
        return [row.tolist() for row in self.encode_arrays(lines, threads)]

    def encode_arrays(self, lines: list[str], threads: int | None = None) -> list[NDArray[np.int32]]:
        """See `Tokenizer.encode_arrays`; with several threads, the library takes one per core."""
        if threads == 1 or len(lines) == 1:
            encoded = [self._backend.encode(line, add_special_tokens=False) for line in lines]
        else:
            encoded = self._backend.encode_batch_fast(lines, add_special_tokens=False)
        rows = [self._ours[np.array(one.ids, np.int64)] for one in encoded]
        for row in rows:
            row[row < UNK] = UNK  # a unigram model can have the piece </s>
        return rows

    def encoder_ids(self, ids: Sequence[int]) -> list[int]:
        """The ids of the encoder for ids of ours."""
        return [int(number) for number in self._theirs[list(ids)]]

    def sample(self, rows: Sequence[Sequence[int]], alpha: float, seed: int) -> NoReturn:
        """Raises UserError: the encoder was trained on one segmentation."""
        raise UserError(
            "train.subword_sampling: the source has the tokenizer of a pretrained encoder, which cannot be sampled",
            "set train.subword_sampling to null",
        )

    def decode(self, ids: Sequence[int]) -> str:
        """See `Tokenizer.decode`; the text is lower case or without accents where the tokenizer makes it so."""
        size = len(self)
        return _text(self._utf8[int(token)] for token in ids if EOS < token < size)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id in SentencePiece's notation: `▁` marks the start of a word, WordPiece's ## is cut."""
        return [self._pieces[int(token)] for token in ids]

    def normalize(self, line: str) -> str:
        """The line as the tokenizer divides it, with a space between its words; unknown words are as in the line."""
        encoded = self._backend.encode(line, add_special_tokens=False)
        texts = []
        for token, (start, end) in zip(
            self._ours[np.array(encoded.ids, np.int64)].tolist(), encoded.offsets, strict=True
        ):
            space = " " if self._prefix is not None else ""
            texts.append((space + line[start:end]).encode() if token == UNK else self._utf8[token])
        return _text(texts)

    @cached_property
    def _utf8(self) -> list[bytes]:
        """The text of each piece in UTF-8 with the space before a word."""
        return [self._text_of(number, name) for number, name in zip(self._theirs.tolist(), self.names, strict=True)]

    @cached_property
    def _pieces(self) -> list[str]:
        texts = [text.decode("utf-8", "replace").replace(" ", "▁") for text in self._utf8]
        return [*self.names[:SPECIAL], *texts[SPECIAL:]]

    def _text_of(self, number: int, name: str) -> bytes:
        if number == self._unknown:
            return f" {_UNKNOWN}".encode() if self._prefix is not None else _UNKNOWN.encode()
        if self._prefix is not None:
            continues = name.startswith(self._prefix) and number not in self._added
            return (name.removeprefix(self._prefix) if continues else f" {name}").encode()
        if self._byte_level:
            return name.encode() if number in self._added else bytes(_BYTES[character] for character in name)
        return name.replace("▁", " ").encode()


def _text(texts: Iterable[bytes]) -> str:
    return one_line(b"".join(texts).decode("utf-8", "replace"))


def _kinds(part: Any) -> Iterator[str]:
    """The types of a component of a tokenizer.json and of those in it."""
    if isinstance(part, dict):
        if isinstance(part.get("type"), str):
            yield part["type"]
        for value in part.values():
            yield from _kinds(value)
    elif isinstance(part, list):
        for value in part:
            yield from _kinds(value)


def _byte_characters() -> dict[str, int]:
    """The byte of each character of byte-level BPE, as GPT-2 writes them: printable bytes as such, others from 256."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + rank): byte for rank, byte in enumerate(others)}


_BYTES = _byte_characters()

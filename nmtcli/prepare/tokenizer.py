"""Text to ids and back: SentencePiece, with the ids of `nmtcli.vocabulary`.

The tokenizer of a data directory is copied unchanged into every checkpoint and export, so `Tokenizers.save` and
`Tokenizers.load` on a directory are the only way in and out.
"""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import sentencepiece

from nmtcli.config import TokenizerConfig
from nmtcli.errors import DataError, UserError
from nmtcli.vocabulary import BOS, EOS, PAD, UNK

JOINT_FILE = "tokenizer.model"
SOURCE_FILE = "tokenizer.source.model"
TARGET_FILE = "tokenizer.target.model"

# The model depends on how many threads share the sums of EM, so the number is fixed whatever the machine has.
_TRAINING_THREADS = 16


class Tokenizer:
    """One SentencePiece model. Encoding normalises the text (NFKC, blanks to single spaces), so decoding gives
    `normalize(line)`, not always `line`.
    """

    def __init__(self, model: bytes) -> None:
        """Raises ValueError if `model` is not a SentencePiece model with our special ids."""
        try:
            self._processor = sentencepiece.SentencePieceProcessor.from_proto(model)
        except RuntimeError:
            raise ValueError("not a SentencePiece model") from None
        processor = self._processor
        ids = (processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id())
        if ids != (PAD, BOS, EOS, UNK):
            raise ValueError(f"its ids of pad, bos, eos and unk are {ids}, not {(PAD, BOS, EOS, UNK)}")
        self._model = model
        # the same rules without the word marker, for a person to read
        self._normalizer = sentencepiece.SentencePieceNormalizer(
            model_proto=model, add_dummy_prefix=False, escape_whitespaces=False
        )

    @classmethod
    def train(cls, sentences: Iterable[str], config: TokenizerConfig) -> Self:
        """A tokenizer of at most `config.vocab_size` pieces; fewer if the text has no more.

        The same sentences in the same order give the same model, byte for byte. Raises UserError if there is no text
        or the vocabulary cannot hold its characters.
        """
        model = io.BytesIO()
        nonblank = [line for line in sentences if line.strip()]
        if not nonblank:
            raise UserError("there is no text to train the tokenizer on", "every line is blank or was dropped")
        try:
            sentencepiece.SentencePieceTrainer.train(
                # an iterator and a writer instead of files keep the paths of this machine out of the model
                sentence_iterator=iter(nonblank),
                model_writer=model,
                model_type=config.type,
                vocab_size=config.vocab_size,
                hard_vocab_limit=False,
                character_coverage=config.character_coverage,
                byte_fallback=config.byte_fallback,
                pad_id=PAD,
                bos_id=BOS,
                eos_id=EOS,
                unk_id=UNK,
                max_sentence_length=2**30,  # cleaning has bounded it; by default long lines are left out silently
                num_threads=_TRAINING_THREADS,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise _explain(error, config) or error from None
        return cls(model.getvalue())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model file. Raises DataError if it is missing or not ours."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: cannot read the tokenizer: {error.strerror}") from None
        except ValueError as error:
            raise DataError(f"{path}: damaged tokenizer: {error}", "copy it again or prepare the data anew") from None

    def save(self, path: Path) -> None:
        """Write the model file."""
        path.write_bytes(self._model)

    def __len__(self) -> int:
        return int(self._processor.get_piece_size())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self._model == other._model

    def __hash__(self) -> int:
        return hash(self._model)

    def encode(self, lines: list[str], threads: int | None = None) -> list[list[int]]:
        """Ids of each line, without BOS and EOS; an empty list where nothing is left after normalisation.

        The lines must be valid Unicode (no lone surrogates). `threads` changes speed only; None is one a core.
        """
        return self._processor.encode(lines, num_threads=threads or -1)  # type: ignore[no-any-return]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of one sentence, always one line.

        PAD, BOS, EOS and ids outside the vocabulary are skipped: a model may produce any of them.
        """
        return self.decode_all([ids])[0]

    def decode_all(self, rows: Iterable[Sequence[int]]) -> list[str]:
        """The text of each sentence; see `decode`."""
        size = len(self)
        kept = [[int(token) for token in row if EOS < token < size] for row in rows]
        # byte fallback can spell what ends a line
        return [text.replace("\n", " ").replace("\r", " ") for text in self._processor.decode(kept)]

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """The piece of each id as SentencePiece writes it (`▁` marks a word's begin), to label a heat map."""
        return [str(self._processor.id_to_piece(int(token))) for token in ids]

    def normalize(self, line: str) -> str:
        """What the tokenizer sees of a line; `decode(encode(line))` where nothing is unknown."""
        return str(self._normalizer.normalize(line))


def _explain(error: RuntimeError, config: TokenizerConfig) -> UserError | None:
    """SentencePiece's complaint about the vocabulary size in our words, None if it is about something else."""
    needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
    if not needed:
        return None
    return UserError(
        f"data.tokenizer.vocab_size {config.vocab_size} is too small: the characters of this text need {needed[1]}",
        f"set data.tokenizer.vocab_size to {needed[1]} or more, or lower data.tokenizer.character_coverage",
    )


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides; one and the same object where they are joint."""

    source: Tokenizer
    target: Tokenizer

    @property
    def joint(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.source is self.target

    def save(self, directory: Path) -> None:
        """Write one file (joint) or two into an existing directory."""
        if self.joint:
            self.source.save(directory / JOINT_FILE)
        else:
            self.source.save(directory / SOURCE_FILE)
            self.target.save(directory / TARGET_FILE)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote. Raises DataError."""
        if (directory / JOINT_FILE).exists():
            tokenizer = Tokenizer.load(directory / JOINT_FILE)
            return cls(tokenizer, tokenizer)
        if not (directory / SOURCE_FILE).exists() and not (directory / TARGET_FILE).exists():
            raise DataError(
                f"{directory}: no tokenizer here", f"expected {JOINT_FILE}, or {SOURCE_FILE} and {TARGET_FILE}"
            )
        return cls(Tokenizer.load(directory / SOURCE_FILE), Tokenizer.load(directory / TARGET_FILE))

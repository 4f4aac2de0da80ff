"""The four special ids of every tokenizer, shard and model, and checks of user-defined symbols."""

import re
from collections.abc import Sequence

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIAL = 4  # smaller ids are never part of a sentence, except UNK


def check_symbols(symbols: Sequence[str]) -> None:
    """Raise ValueError for an invalid user-defined symbol."""
    for symbol in symbols:
        if not symbol:
            raise ValueError("a symbol is empty")
        if any(character.isspace() or character in "▁\0" for character in symbol):
            raise ValueError(f"the symbol {symbol!r} has a space, or ▁, which is SentencePiece's space")
        if symbol in {"<pad>", "<s>", "</s>", "<unk>"} or re.fullmatch("<0x[0-9A-F]{2}>", symbol):
            raise ValueError(f"the symbol {symbol} is reserved by the tokenizer")
    if len(set(symbols)) < len(symbols):
        raise ValueError(f"duplicate symbol {max(symbols, key=symbols.count)}")


def vocabulary_order(special: Sequence[int], size: int) -> list[int]:
    """The ids of a pretrained encoder in the order of ours: its PAD, BOS, EOS and UNK, then all others below `size`."""
    return [*special, *(number for number in range(size) if number not in special)]

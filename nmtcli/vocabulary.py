"""The four special ids, the same in every tokenizer, shard and model that `nmt` writes; what else can be a symbol."""

import re
from collections.abc import Sequence

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIAL = 4  # ids below this one are never part of a sentence, except UNK


def check_symbols(symbols: Sequence[str]) -> None:
    """Raise ValueError if one of a tokenizer's user-defined symbols cannot be one."""
    for symbol in symbols:
        if not symbol:
            raise ValueError("a symbol is empty")
        if any(character.isspace() or character in "▁\0" for character in symbol):
            raise ValueError(f"the symbol {symbol!r} has a blank in it (or ▁, which SentencePiece takes for one)")
        if symbol in {"<pad>", "<s>", "</s>", "<unk>"} or re.fullmatch("<0x[0-9A-F]{2}>", symbol):
            raise ValueError(f"the symbol {symbol} is one of the tokenizer's own")
    if len(set(symbols)) < len(symbols):
        raise ValueError(f"the symbol {max(symbols, key=symbols.count)} is there twice")

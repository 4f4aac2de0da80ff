"""Guided alignment: links of words become links of tokens, keep with their pair, and teach attention where to look."""

import json
import random
import re
import tempfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.checkpoint import find_model, load_model
from nmtcli.config import CorpusConfig, TokenizerConfig
from nmtcli.errors import DataError
from nmtcli.models.halves import Decoded
from nmtcli.prepare.directory import open_data
from nmtcli.prepare.files import File
from nmtcli.prepare.links import EncodedSide, Links, token_links
from nmtcli.prepare.readers.alignments import AlignedLines
from nmtcli.prepare.readers.lines import LinePairs
from nmtcli.prepare.shards import Sentences, Shards, ShardWriter, record_batch
from nmtcli.prepare.tokenizer import Tokenizer
from nmtcli.train.batches import Batch, make_batch
from nmtcli.train.loss import TrainingLoss
from tests.conftest import TINY, nmt, overrides, prepare_arguments
from tests.laws.test_training_laws import tiny_batch

TEXTS = ["the old house by the sea", "a „green“ dog & two cats", "x²y ½ cup, naïve", "日本語 の 文", "<tag> here"]


@pytest.fixture(scope="module", params=["unigram", "bpe", "char", "word"])
def tokenizer(request) -> Tokenizer:
    return trained(type=request.param)


def trained(**settings) -> Tokenizer:
    config = TokenizerConfig(vocab_size=360, symbols=("<tag>",), character_coverage=0.98, **settings)
    return Tokenizer.train(TEXTS * 5, config)


def links_of(rows) -> Links:
    """From a list of links for each pair."""
    return Links.unpack(Sentences.of([[number for link in row for number in link] for row in rows]))


def rows_of(links: Links) -> list[set[tuple[int, int]]]:
    flat = links.pack().rows()
    return [set(zip(row[::2], row[1::2], strict=True)) for row in flat]


def encoded(texts, tokenizer) -> EncodedSide:
    return EncodedSide(texts, Sentences.of(tokenizer.encode(texts)), tokenizer)


# ---- from words to tokens ----

WORD = st.sampled_from(" ".join(TEXTS).split()) | st.text("abehotuy²½…“é語<>tag", min_size=1, max_size=6)
SENTENCE = st.lists(WORD, min_size=1, max_size=8)


@st.composite
def linked_pairs(draw):
    words = draw(SENTENCE), draw(SENTENCE)
    link = st.tuples(*(st.integers(0, len(side) - 1) for side in words))
    return words, draw(st.lists(link, max_size=6))


@settings(deadline=None, max_examples=60)
@given(pairs=st.lists(linked_pairs(), min_size=1, max_size=4))
def test_the_tokens_that_are_linked_spell_the_words_that_are_linked(tokenizer, pairs):
    """Where links are kept, tokens outside of a word leave nothing of it, and those inside spell all of it."""
    texts = [[" ".join(words[side]) for words, _ in pairs] for side in (0, 1)]
    sides = [encoded(side, tokenizer) for side in texts]
    words = links_of([links for _, links in pairs])
    found, counts = token_links(words, *sides)
    assert counts.kept + counts.lost == sum(bool(links) for _, links in pairs)
    ids = [side.tokens.rows() for side in sides]
    lost = 0
    for number, ((source, target), links) in enumerate(pairs):
        tokens = rows_of(found)[number]
        if not tokens:
            lost += bool(links)
            continue
        expected = set()
        for link in set(links):
            spans = [span(ids[k][number], (source, target)[k], link[k], tokenizer) for k in (0, 1)]
            expected |= {(one, other) for one in spans[0] for other in spans[1]}
        assert tokens == expected
    assert lost == counts.lost


def span(ids, words, word, tokenizer) -> range:
    """The tokens of a word, by the characters that the words before it have once normalised."""
    normal = [tokenizer.normalize(text) for text in words]
    if tokenizer.type == "word":
        return range(word, word + 1)  # where nothing was dropped
    pieces = [piece.removeprefix("▁") for piece in tokenizer.pieces(ids)]
    before = sum(map(len, normal[:word]))
    sizes = np.array([width(piece) for piece in pieces])
    ends = sizes.cumsum()
    total = sum(len(text.encode()) for text in normal) if tokenizer.byte_pieces[list(ids)].any() else None
    if total is not None:  # count in bytes, of which such pieces have one
        sizes = np.array([1 if tokenizer.byte_pieces[token] else len(piece.encode())
                          for token, piece in zip(ids, pieces, strict=True)])  # fmt: skip
        ends = sizes.cumsum()
        before = sum(len(text.encode()) for text in normal[:word])
        own = len(normal[word].encode())
    else:
        own = len(normal[word])
    inside = [n for n, (end, size) in enumerate(zip(ends, sizes, strict=True)) if before < end <= before + own and size]
    blanks = [n for n in range(len(ids)) if not sizes[n] and n + 1 == inside[0]]
    return range(min(blanks + inside), inside[-1] + 1)


def width(piece: str) -> int:
    return len(piece)

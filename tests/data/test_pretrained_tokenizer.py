"""The tokenizer of a pretrained encoder: the ids of AutoTokenizer, and the laws of our tokenizers."""

import json
import random
from functools import cache

import numpy as np
import pytest

from nmtcli.data.batching import Sentences
from nmtcli.data.links import EncodedSide, LinkCounts, Links, token_links
from nmtcli.data.pretrained_tokenizer import PretrainedTokenizer
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.data.words import raw_words, surfaces
from nmtcli.errors import DataError, UserError
from nmtcli.interchange.encoders import EncoderFolder
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL, UNK
from tests.interchange.encoders import FAMILIES, LINES, make, special_names

pytest.importorskip("transformers")

each_family = pytest.mark.parametrize("family", FAMILIES)
WORDS = [word for line in LINES for word in line.split()]


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The folder and the tokenizer of each family."""

    @cache
    def open_family(family):
        folder = EncoderFolder.open(str(make(family, tmp_path_factory.mktemp("encoders") / family)))
        return folder, folder.tokenizer()

    return open_family


def lines(seed: int = 0) -> list[str]:
    """Random text of several scripts."""
    generator = random.Random(seed)
    mixed = [" ".join(generator.choices(WORDS, k=generator.randint(1, 9))) for _ in range(60)]
    letters = "abz é ñß ж я 我 き ا ש \u0301 \u00a0 😀 1٣ .,!?-'\" \t"
    return [*LINES, *mixed, *("".join(generator.choices(letters, k=12)) for _ in range(60)), "", " ", "a  b "]


@each_family
def test_the_encoder_gets_the_ids_of_auto_tokenizer(opened, family):
    from transformers import AutoTokenizer

    folder, tokenizer = opened(family)
    theirs = AutoTokenizer.from_pretrained(folder.path)
    text = lines()
    for threads in (None, 1):
        rows = tokenizer.encode(text, threads)
        assert [tokenizer.encoder_ids([BOS, *row, EOS]) for row in rows] == theirs(text)["input_ids"]
    assert tokenizer.encoder_ids([PAD, UNK])[0] == theirs.pad_token_id
    assert [row.tolist() for row in tokenizer.encode_arrays(text)] == rows


@each_family
def test_names_of_special_tokens_in_a_text_are_text(opened, family):
    from transformers import AutoTokenizer

    folder, tokenizer = opened(family)
    text = [f"one {name} two" for name in special_names(family)]
    rows = tokenizer.encode(text)
    theirs = AutoTokenizer.from_pretrained(folder.path)
    special = tokenizer.encoder_ids([PAD, BOS, EOS])
    (unknown,) = tokenizer.encoder_ids([UNK])
    for row, (_, *expected, _) in zip(rows, theirs(text, split_special_tokens=True)["input_ids"], strict=True):
        assert tokenizer.encoder_ids(row) == [unknown if number in special else number for number in expected]
    assert all(token >= SPECIAL or token == UNK for row in rows for token in row)


@each_family
def test_decoding_an_encoded_line_gives_the_normalised_line(opened, family):
    _, tokenizer = opened(family)
    for line in lines():
        (ids,) = tokenizer.encode([line])
        if UNK not in ids:
            assert tokenizer.decode(ids) == tokenizer.normalize(line)
    assert tokenizer.decode([PAD, BOS, EOS, len(tokenizer)]) == ""


@each_family
def test_pieces_have_the_notation_of_sentencepiece(opened, family):
    _, tokenizer = opened(family)
    text = "one two three stop the prices"
    (ids,) = tokenizer.encode([text])
    assert UNK not in ids
    pieces = tokenizer.pieces(ids)
    assert "".join(pieces).lstrip("▁").replace("▁", " ") == tokenizer.normalize(text)
    assert tokenizer.word_starts[ids].tolist() == [piece.startswith("▁") for piece in pieces]
    assert not any("##" in piece or "Ġ" in piece for piece in tokenizer.pieces(range(SPECIAL, len(tokenizer))))


@each_family
def test_every_token_belongs_to_its_word_of_the_raw_line(opened, family):
    _, tokenizer = opened(family)
    line = "Don't stop: one (two) three!"
    (ids,) = tokenizer.encode([line])
    numbers = raw_words(tokenizer, line, ids)
    assert len(numbers) == len(ids)
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(len(line.split())))
    assert len(surfaces(tokenizer, ids)) == len(ids)


@each_family
def test_saved_and_loaded_it_is_the_same(opened, family, tmp_path):
    _, tokenizer = opened(family)
    target = Tokenizer.train(["one two three four"] * 5, small_config())
    pair = Tokenizers(tokenizer, target)
    pair.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.source.json", "tokenizer.target.model"]
    for loaded in (Tokenizers.load(tmp_path), Tokenizers.reuse(tmp_path)):
        assert loaded == pair
        assert loaded.source.digest == tokenizer.digest
        assert loaded.pretrained
        assert not loaded.joint
    other = opened("bert" if family != "bert" else "distilbert")[1]
    assert other != tokenizer
    assert other.digest != tokenizer.digest


def small_config():
    from nmtcli.config import TokenizerConfig

    return TokenizerConfig(vocab_size=300)


@each_family
def test_the_file_opens_with_the_library_and_has_limits(opened, family):
    import tokenizers

    _, tokenizer = opened(family)
    assert tokenizer.max_tokens == 38
    library = tokenizers.Tokenizer.from_str(tokenizer._model.decode())
    assert len(library.encode("one " * 60).ids) == 40


def test_it_has_no_symbols_and_no_sampling(opened):
    _, tokenizer = opened("bert")
    assert not tokenizer.has_symbol("<2de>")
    with pytest.raises(UserError, match="cannot be sampled"):
        tokenizer.sample([[5, 6]], 0.1, seed=1)


def test_damaged_files_are_refused(opened, tmp_path):
    _, tokenizer = opened("bert")
    path = tmp_path / "tokenizer.source.json"
    tree = json.loads(tokenizer._model)
    broken = ["{", json.dumps({**tree, "padding": None}), json.dumps({**tree, "post_processor": None})]
    for text in broken:
        path.write_text(text, "utf-8")
        with pytest.raises(DataError, match="damaged tokenizer"):
            PretrainedTokenizer.load(path)


@each_family
def test_links_of_words_with_punctuation_go_to_all_their_tokens(opened, family):
    _, tokenizer = opened(family)
    texts, targets = ["Don't stop: one (two) three!", "one two"], ["a b c d e", "a b"]
    target = Tokenizer.train(["a b c d e"] * 5, small_config())
    sides = [
        EncodedSide(lines, Sentences.of(side.encode(lines)), side)
        for lines, side in ((texts, tokenizer), (targets, target))
    ]
    links = Links(np.array([(number, number) for count in (5, 2) for number in range(count)]), np.array([5, 2]))
    found, counts = token_links(links, *sides)
    assert counts == LinkCounts(2, 0)
    linked = np.split(found.positions, found.counts.cumsum()[:-1])
    for text, pairs, line in zip(texts, linked, targets, strict=True):
        words = raw_words(tokenizer, text, tokenizer.encode([text])[0])
        written = raw_words(target, line, target.encode([line])[0])
        assert {(words[source], written[token]) for source, token in pairs.tolist()} == {
            (number, number) for number in range(len(line.split()))
        }
        assert len({source for source, _ in pairs.tolist()}) == len(words)

"""The tokenizer's files, errors and special ids."""

import os
import subprocess
import sys

import pytest

from nmtcli.config import TokenizerConfig
from nmtcli.errors import DataError, UserError
from nmtcli.prepare.tokenizer import Tokenizer, Tokenizers
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL, UNK

SENTENCES = ["the cat sat on the mat", "a dog and a cat", "the dog saw the cat", "a mat and a dog"] * 3


def train(**settings) -> Tokenizer:
    return Tokenizer.train(SENTENCES, TokenizerConfig(**{"vocab_size": 300, **settings}))


@pytest.fixture(scope="module")
def tokenizer():
    return train()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_small_text_gives_a_smaller_vocabulary(kind):
    tokenizer = train(type=kind, vocab_size=8000)
    assert 260 < len(tokenizer) < 500
    assert tokenizer.decode(tokenizer.encode(["the cat"])[0]) == "the cat"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_vocabulary_too_small_for_the_characters_says_how_many_it_needs(kind):
    with pytest.raises(UserError, match=r"data\.tokenizer\.vocab_size 100 is too small.* need (\d+)$") as caught:
        train(type=kind, vocab_size=100)
    needed = int(caught.value.message.split()[-1])
    assert str(needed) in caught.value.hint
    assert len(train(type=kind, vocab_size=needed)) <= needed


@pytest.mark.parametrize("lines", [[], ["", "  ", "\u3000"]])
def test_training_on_nothing_is_refused(lines):
    with pytest.raises(UserError, match="no text"):
        Tokenizer.train(lines, TokenizerConfig())


def test_special_ids_are_those_of_the_vocabulary(tokenizer):
    assert tokenizer.pieces([PAD, BOS, EOS, UNK]) == ["<pad>", "<s>", "</s>", "<unk>"]
    for ids in tokenizer.encode(["the cat", "<s> <pad> </s> <unk>", "猫 \0"]):
        assert min(ids) >= SPECIAL  # written in a text they are only text, and bytes spell the unknown


def test_without_byte_fallback_a_new_character_is_unknown():
    tokenizer = train(byte_fallback=False, vocab_size=40)
    assert UNK in tokenizer.encode(["猫"])[0]


def test_blank_lines_have_no_ids(tokenizer):
    assert tokenizer.encode(["", " ", "\u200b\ufffd"]) == [[], [], []]
    assert tokenizer.encode([]) == []
    assert tokenizer.decode([]) == ""


def test_decoding_skips_what_is_no_piece_and_stays_on_one_line(tokenizer):
    (ids,) = tokenizer.encode(["a cat"])
    assert tokenizer.decode([BOS, *ids, EOS, PAD, 10**6, -1]) == "a cat"
    line_feed = tokenizer.pieces(range(len(tokenizer))).index("<0x0A>")
    assert "\n" not in tokenizer.decode([*ids, line_feed, *ids])


def test_pieces_join_to_the_text(tokenizer):
    (ids,) = tokenizer.encode(["the cat"])
    assert "".join(tokenizer.pieces(ids)) == "▁the▁cat"


def test_a_very_long_line_is_trained_on():
    tokenizer = Tokenizer.train(["x " * 5000 + "zebra"], TokenizerConfig(vocab_size=300, character_coverage=1))
    assert "z" in tokenizer.pieces(range(len(tokenizer)))


def test_the_model_is_the_same_in_another_process(tokenizer, tmp_path):
    code = (
        "import sys; from pathlib import Path; from nmtcli.config import TokenizerConfig;"
        "from nmtcli.prepare.tokenizer import Tokenizer;"
        f"Tokenizer.train({SENTENCES!r}, TokenizerConfig(vocab_size=300)).save(Path(sys.argv[1]));"
        "assert not {'torch', 'pandas', 'datasets'} & set(sys.modules)"
    )
    file = tmp_path / "tokenizer.model"
    subprocess.run([sys.executable, "-c", code, file], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert Tokenizer.load(file) == tokenizer
    assert str(tmp_path).encode() not in file.read_bytes()


@pytest.mark.parametrize("joint", [True, False])
def test_a_directory_brings_back_what_was_saved(joint, tokenizer, tmp_path):
    tokenizers = Tokenizers(tokenizer, tokenizer if joint else train(type="bpe"))
    tokenizers.save(tmp_path)
    names = {"tokenizer.model"} if joint else {"tokenizer.source.model", "tokenizer.target.model"}
    assert {path.name for path in tmp_path.iterdir()} == names
    loaded = Tokenizers.load(tmp_path)
    assert loaded == tokenizers
    assert loaded.joint is joint


def test_missing_and_damaged_models_are_told(tokenizer, tmp_path):
    with pytest.raises(DataError, match="no tokenizer here"):
        Tokenizers.load(tmp_path)
    tokenizer.save(tmp_path / "tokenizer.source.model")
    with pytest.raises(DataError, match=r"tokenizer\.target\.model"):
        Tokenizers.load(tmp_path)
    whole = (tmp_path / "tokenizer.source.model").read_bytes()
    for content in (b"", b"garbage", whole[:-5]):
        (tmp_path / "tokenizer.target.model").write_bytes(content)
        with pytest.raises(DataError, match=r"tokenizer\.target\.model: damaged"):
            Tokenizers.load(tmp_path)


def test_a_model_with_other_special_ids_is_refused(tmp_path):
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=40, hard_vocab_limit=False, minloglevel=2
    )
    (tmp_path / "tokenizer.model").write_bytes(model.getvalue())
    with pytest.raises(DataError, match="ids of pad, bos, eos and unk"):
        Tokenizers.load(tmp_path)

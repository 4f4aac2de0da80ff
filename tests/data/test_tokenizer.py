"""The tokenizer's files, errors and special ids."""

import io
import math
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import sentencepiece
from pydantic import ValidationError

from nmtcli.config import TokenizerConfig
from nmtcli.data.piece_model import parse
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import DataError, UserError
from nmtcli.vocabulary import BOS, EOS, PAD, SPECIAL, UNK

SENTENCES = ["the cat sat on the mat", "a dog and a cat", "the dog saw the cat", "a mat and a dog"] * 3


def train(**settings) -> Tokenizer:
    return Tokenizer.train(SENTENCES, TokenizerConfig(**{"vocab_size": 300, **settings}))


def foreign_model(**settings) -> bytes:
    """A model as SentencePiece makes it if not told otherwise."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        hard_vocab_limit=False,
        minloglevel=2,
        **{"vocab_size": 320, **settings},
    )
    return model.getvalue()


def segments(tokenizer: Tokenizer, line: str) -> list[str]:
    return tokenizer.pieces(tokenizer.encode([line])[0])


@pytest.fixture(scope="module")
def tokenizer():
    return train()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_small_text_gives_a_smaller_vocabulary(kind):
    tokenizer = train(type=kind, vocab_size=8000)
    assert 260 < len(tokenizer) < 500
    assert tokenizer.decode(tokenizer.encode(["the cat"])[0]) == "the cat"


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_vocabulary_too_small_for_the_characters_reports_the_minimum(kind):
    with pytest.raises(UserError, match=r"data\.tokenizer\.vocab_size 100 is too small.* need (\d+)$") as caught:
        train(type=kind, vocab_size=100)
    needed = int(caught.value.message.split()[-1])
    assert str(needed) in caught.value.hint
    assert len(train(type=kind, vocab_size=needed)) <= needed


@pytest.mark.parametrize(
    ("kind", "byte_fallback", "needed"),
    [("char", True, 4 + 256 + 12 + 1), ("char", False, 4 + 12 + 1), ("word", True, 4 + 2 * 12 + 1)],
)
def test_a_vocabulary_of_symbols_and_bytes_alone_is_too_small(kind, byte_fallback, needed):
    settings = {"type": kind, "byte_fallback": byte_fallback, "symbols": [f"<{number}>" for number in range(12)]}
    with pytest.raises(UserError, match=f"vocab_size 16 is too small: .* need {needed}$"):
        train(vocab_size=16, **settings)
    assert len(train(vocab_size=needed, **settings)) == needed


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_vocabulary_too_small_counts_the_symbols(kind):
    def needed(*symbols):
        with pytest.raises(UserError, match="need") as caught:
            Tokenizer.train(SENTENCES, TokenizerConfig(type=kind, vocab_size=100, symbols=symbols[:1]), symbols[1:])
        return int(caught.value.message.split()[-1])

    assert needed("<b>", "<2de>", "<bt>") == needed() + 3


@pytest.mark.parametrize("lines", [[], ["", "  ", "\u3000"], ["\x07"]])
def test_training_on_nothing_is_refused(lines):
    with pytest.raises(UserError, match="no text"):
        Tokenizer.train(lines, TokenizerConfig())


def test_special_ids_are_those_of_the_vocabulary(tokenizer):
    assert tokenizer.pieces([PAD, BOS, EOS, UNK]) == ["<pad>", "<s>", "</s>", "<unk>"]
    for ids in tokenizer.encode(["the cat", "<s> <pad> </s> <unk>", "猫 \0"]):
        assert min(ids) >= SPECIAL  # written in a text they are only text, and bytes spell the unknown


def test_without_byte_fallback_an_unseen_character_is_unk():
    tokenizer = train(byte_fallback=False, vocab_size=40)
    assert UNK in tokenizer.encode(["猫"])[0]


def test_empty_lines_have_no_ids(tokenizer):
    assert tokenizer.encode(["", " ", "\u3000\ufffd"]) == [[], [], []]
    assert tokenizer.encode([]) == []
    assert tokenizer.decode([]) == ""


def test_decoding_skips_invalid_ids_and_returns_one_line(tokenizer):
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
        "from nmtcli.data.tokenizer import Tokenizer;"
        f"Tokenizer.train({SENTENCES!r}, TokenizerConfig(vocab_size=300)).save(Path(sys.argv[1]));"
        "assert not {'torch', 'pandas', 'datasets'} & set(sys.modules)"
    )
    file = tmp_path / "tokenizer.model"
    subprocess.run([sys.executable, "-c", code, file], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert Tokenizer.load(file) == tokenizer
    assert str(tmp_path).encode() not in file.read_bytes()


@pytest.mark.parametrize("joint", [True, False])
def test_saved_tokenizers_are_loaded_unchanged(joint, tokenizer, tmp_path):
    tokenizers = Tokenizers(tokenizer, tokenizer if joint else train(type="bpe"))
    tokenizers.save(tmp_path)
    names = {"tokenizer.model"} if joint else {"tokenizer.source.model", "tokenizer.target.model"}
    assert {path.name for path in tmp_path.iterdir()} == names
    loaded = Tokenizers.load(tmp_path)
    assert loaded == tokenizers
    assert loaded.joint is joint


def test_missing_and_damaged_tokenizers_are_refused(tokenizer, tmp_path):
    with pytest.raises(DataError, match="has no tokenizer"):
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
    (tmp_path / "tokenizer.model").write_bytes(foreign_model())
    with pytest.raises(DataError, match="ids of pad, bos, eos and unk"):
        Tokenizers.load(tmp_path)


def test_characters_are_pieces():
    tokenizer = train(type="char")
    assert segments(tokenizer, "the cat é") == [*"▁the▁cat▁", "<0xC3>", "<0xA9>"]
    assert len(train(type="char", vocab_size=8000)) == len(tokenizer)


def test_a_small_vocabulary_of_characters_keeps_the_frequent_ones():
    tokenizer = train(type="char", vocab_size=16, byte_fallback=False)
    assert len(tokenizer) == 16
    assert UNK in tokenizer.encode(["saw"])[0]
    assert UNK not in tokenizer.encode(["the cat"])[0]


def test_words_are_pieces_and_each_unknown_word_is_unknown():
    tokenizer = train(type="word")
    assert segments(tokenizer, " the  cat sat") == ["▁the", "▁cat", "▁sat"]
    (ids,) = tokenizer.encode(["zebra zebra the zebra 猫 <s> cat"])
    assert tokenizer.pieces(ids) == ["<unk>", "<unk>", "▁the", "<unk>", "<unk>", "<unk>", "▁cat"]
    assert tokenizer.decode(ids) == "⁇ ⁇ the ⁇ ⁇ ⁇ cat"
    assert not tokenizer.byte_pieces.any()


def test_long_and_rare_words_are_words():
    word = "x" * 100 + "猫"
    tokenizer = Tokenizer.train(["a " * 100_000 + word], TokenizerConfig(type="word"))
    assert tokenizer.decode(tokenizer.encode([word])[0]) == word


def test_the_frequent_words_are_kept():
    tokenizer = train(type="word", vocab_size=16)
    assert len(tokenizer) <= 16
    assert segments(tokenizer, "the cat and a") == ["▁the", "▁cat", "▁and", "▁a"]


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({}, "The Ａ ﬁ"),
        ({"normalization": "nmt_nfc"}, "The Ａ ﬁ"),
        ({"normalization": "nmt_nfkc"}, "The A fi"),
        ({"normalization": "nfkc"}, "The\tA fi"),
        ({"normalization": "none"}, "The\tＡ\u00a0ﬁ"),
        ({"lowercase": True}, "the ａ ﬁ"),
        ({"normalization": "nmt_nfkc", "lowercase": True}, "the a fi"),
        ({"normalization": "nfkc", "lowercase": True}, "the\ta fi"),
    ],
)
def test_normalization(settings, seen):
    tokenizer = train(**settings)
    line = "The\tＡ\u00a0ﬁ"
    assert tokenizer.normalize(line) == seen
    assert tokenizer.lowercases == settings.get("lowercase", False)
    assert tokenizer.decode(tokenizer.encode([line])[0]) == seen


def test_lower_case_needs_rules():
    with pytest.raises(ValidationError, match="lowercase needs a normalization"):
        TokenizerConfig(normalization="none", lowercase=True)


@pytest.mark.parametrize(
    "symbols", [("",), ("a b",), ("a\u3000",), ("▁a",), ("<b>", "<b>"), ("<pad>",), ("<s>",), ("<unk>",), ("<0x41>",)]
)
def test_invalid_symbols_are_refused(symbols):
    with pytest.raises(ValidationError, match="symbol"):
        TokenizerConfig(symbols=symbols)
    with pytest.raises(UserError, match="symbol"):
        Tokenizer.train(SENTENCES, TokenizerConfig(), dict.fromkeys(symbols) if "<b>" not in symbols else ["</s>"])


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char", "word"])
def test_user_defined_symbols_are_single_pieces_and_are_decoded(kind):
    # what CSV, regular expressions and NFKC would stumble over
    symbols = ("<b><b>", "<b>", "[a,b]", "q\"u'o,te", "ﬁ", "＜c＞", "|.*\\", "(?:x", "é", "7")
    config = TokenizerConfig(type=kind, vocab_size=400, symbols=symbols)
    tokenizer = Tokenizer.train(SENTENCES, config, ["<2de>", "<b>"])
    everything = [*symbols, "<2de>"]
    assert all(tokenizer.has_symbol(symbol) for symbol in everything)
    assert not tokenizer.has_symbol("the")
    assert not tokenizer.has_symbol("<s>")
    assert tokenizer.symbols == set(everything)
    line = "<2de> the cat " + "".join(everything) + "<2de><b> <b>"  # <b><b><b> is read from the left, longest first
    (ids,) = tokenizer.encode([line])
    assert tokenizer.decode(ids) == tokenizer.normalize(line) == line
    found = [piece.removeprefix("▁") for piece in tokenizer.pieces(ids)]
    assert [piece for piece in found if tokenizer.has_symbol(piece)] == ["<2de>", *everything, "<2de>", "<b>", "<b>"]


@pytest.mark.parametrize("kind", ["unigram", "bpe", "char", "word"])
def test_symbols_do_not_change_how_other_text_is_cut(kind):
    tokenizer = train(type=kind, symbols=("<b>",))
    for line in ["the cat sat 猫", "  a\u00a0dog", "x ▁ y", ""]:
        expected = tokenizer._processor.encode(line)
        assert tokenizer.encode([line])[0] == expected or kind == "word"


def test_a_symbol_is_not_split_for_a_better_score():
    model = parse(train(symbols=("abcd",))._model)
    for piece in ("▁abc", "dd"):
        model.pieces.add(piece=piece, score=-0.1)
    tokenizer = Tokenizer(model.SerializeToString())
    assert tokenizer._processor.encode("abcdd", return_type=str) == ["▁abc", "dd"]  # SentencePiece alone
    assert segments(tokenizer, "abcdd") == ["▁", "abcd", "d"]


def test_byte_pieces_are_known(tokenizer):
    assert tokenizer.byte_pieces.shape == (len(tokenizer),)
    assert tokenizer.byte_pieces.sum() == 256
    ids = np.array(tokenizer.encode(["the 猫"])[0])
    assert tokenizer.byte_pieces[ids].sum() == 3
    assert not train(byte_fallback=False, vocab_size=40).byte_pieces.any()


FOREIGN = [
    {"model_type": "unigram"},
    {"model_type": "bpe"},
    {"model_type": "char"},
    {"model_type": "word"},
    {"byte_fallback": True, "user_defined_symbols": ["<b>", "</b>"], "normalization_rule_name": "nfkc_cf"},
    {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    {"pad_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "control_symbols": ["[MASK]"]},
    {"user_defined_symbols": ["<pad>"]},
    {"bos_id": -1, "eos_id": -1},
    {"treat_whitespace_as_suffix": True},
    {"add_dummy_prefix": False},
]


@pytest.mark.parametrize("settings", FOREIGN, ids=str)
def test_a_foreign_model_is_adopted(settings, tmp_path):
    path = tmp_path / "any.model"
    path.write_bytes(foreign_model(**settings))
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ours = Tokenizer.adopt(path)
    assert ours.type == settings.get("model_type", "unigram")
    assert [ours._processor.is_control(i) for i in range(4)] == [True, True, True, False]
    names = {theirs.id_to_piece(i): theirs.get_score(i) for i in range(len(theirs))}
    pieces = ours.pieces(range(len(ours)))
    assert set(names) <= set(pieces)
    assert all(ours._processor.get_score(i) == names.get(piece, 0) for i, piece in enumerate(pieces))
    assert [piece for piece in pieces[4:] if piece != "<pad>"] == [piece for piece in names if piece not in pieces[:4]]
    for line in ["the dog sat on a mat", "The Cat", "<b>the</b> cat", "the the cat", ""]:
        expected = theirs.encode(line, return_type=str, emit_unk_piece=True)
        if ours.type == "word" and line == "The Cat":  # two unknown words, one for SentencePiece
            assert expected == ["<unk>"]
            assert segments(ours, line) == ["<unk>", "<unk>"]
            continue
        assert segments(ours, line) == expected
        assert ours.decode(ours.encode([line])[0]) == theirs.decode(theirs.encode(line)).strip()
    ours.save(tmp_path / "tokenizer.model")
    assert Tokenizers.load(tmp_path) == Tokenizers(ours, ours)
    assert Tokenizer.adopt(tmp_path / "tokenizer.model") == ours


def test_an_adopted_model_keeps_bytes_and_symbols(tmp_path):
    (tmp_path / "any.model").write_bytes(foreign_model(byte_fallback=True, user_defined_symbols=["<b>"]))
    tokenizers = Tokenizers.reuse(tmp_path / "any.model")
    assert tokenizers.joint
    assert tokenizers.source.byte_pieces.sum() == 256
    assert tokenizers.source.has_symbol("<b>")
    assert not tokenizers.source.has_symbol("<2de>")
    (ids,) = tokenizers.source.encode(["the<b>猫"])
    assert tokenizers.source.decode(tokenizers.source.sample([ids], 0.1, 1)[0]) == "the<b>猫"


@pytest.mark.parametrize("joint", [True, False])
def test_a_directory_is_reused_unchanged(joint, tokenizer, tmp_path):
    tokenizers = Tokenizers(tokenizer, tokenizer if joint else train(type="bpe"))
    tokenizers.save(tmp_path)
    reused = Tokenizers.reuse(tmp_path)
    assert reused == tokenizers
    assert reused.joint is joint


def test_files_that_are_not_tokenizers_are_refused(tokenizer, tmp_path):
    with pytest.raises(DataError, match="has no tokenizer"):
        Tokenizers.reuse(tmp_path)
    with pytest.raises(DataError, match="cannot read the tokenizer"):
        Tokenizers.reuse(tmp_path / "nothing.model")
    tokenizer.save(tmp_path / "whole.model")
    path = tmp_path / "any.model"
    for content in (b"", b"garbage", b"a text\nof lines\n", (tmp_path / "whole.model").read_bytes()[:-5]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"any\.model: cannot use this tokenizer: not a SentencePiece model"):
            Tokenizers.reuse(path)


def test_a_special_piece_that_is_ordinary_text_is_not_adopted(tmp_path):
    lines = ["[PAD]"] * 50
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="word", vocab_size=9, hard_vocab_limit=False,
        pad_piece="▁[PAD]", minloglevel=2,
    )  # fmt: skip
    (tmp_path / "any.model").write_bytes(model.getvalue())
    with pytest.raises(DataError, match=r"its piece ▁\[PAD\] is ordinary text"):
        Tokenizer.adopt(tmp_path / "any.model")


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sampling_is_a_function_of_its_arguments(kind, tmp_path):
    tokenizer = train(type=kind)
    rows = tokenizer.encode(SENTENCES)
    first = tokenizer.sample(rows, 0.3, 7)
    assert first != rows
    assert [tokenizer.decode(row) for row in first] == SENTENCES
    assert tokenizer.sample(rows, 0.3, 8) != first
    assert tokenizer.sample(rows, 0.6, 7) != first
    assert tokenizer.sample(np.array(rows[:1]), 0.3, 7) == first[:1]
    assert tokenizer.sample(rows, 0.3, 7) == first
    tokenizer.save(tmp_path / "tokenizer.model")
    code = (
        "import sys; from pathlib import Path; from nmtcli.data.tokenizer import Tokenizer;"
        f"print(Tokenizer.load(Path(sys.argv[1])).sample({rows}, 0.3, 7))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "tokenizer.model")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == str(first)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sampling_takes_any_seed_and_any_number_of_rows(kind):
    tokenizer = train(type=kind)
    rows = tokenizer.encode(["the cat sat on the mat"])
    for seed in (0, 2**32 - 1, 2**64 + 5):
        assert tokenizer.sample(rows, 0.3, seed) == tokenizer.sample(rows, 0.3, seed)
    assert tokenizer.sample([], 0.3, 1) == []
    assert tokenizer.sample([[]], 0.3, 1) == [[]]


def test_pieces_without_another_segmentation_stay():
    tokenizer = train(symbols=("<b>",))
    (cat,) = tokenizer.encode(["the cat"])
    (rest,) = tokenizer.encode(["<b>猫<b>"])
    row = [BOS, *cat, UNK, *rest, rest[-2], *cat, EOS]  # a broken run of bytes, too
    for seed in range(5):
        (sampled,) = tokenizer.sample([row], 0.0, seed)
        assert [token for token in sampled if token in {BOS, EOS, UNK, *rest[1:]}] == [
            BOS,
            UNK,
            *rest[1:],
            rest[-2],
            EOS,
        ]
        assert tokenizer.decode(sampled) == tokenizer.decode(row)


@pytest.mark.parametrize(("kind", "alpha"), [("unigram", 1000.0), ("bpe", 0.0)])
def test_sampling_without_chance_gives_the_best_segmentation(kind, alpha):
    tokenizer = train(type=kind)
    rows = tokenizer.encode(SENTENCES)
    assert tokenizer.sample(rows, alpha, 1) == rows


def test_sampling_with_full_dropout_gives_characters():
    tokenizer = train(type="bpe")
    (row,) = tokenizer.sample(tokenizer.encode(["the cat"]), 1.0, 1)
    assert tokenizer.pieces(row) == list("▁the▁cat")


def test_unigram_samples_follow_the_model():
    """Each segmentation comes as often as its probability, to the power of alpha, says."""
    lines = ["abab ab ba abba aab bab abc cab bca abcabc"] * 20
    tokenizer = Tokenizer.train(lines, TokenizerConfig(vocab_size=280))
    ids = list(range(len(tokenizer)))
    score = dict(zip(tokenizer.pieces(ids), tokenizer._processor.get_score(ids), strict=True))

    def segmentations(text):
        if not text:
            yield ()
        for end in range(1, len(text) + 1):
            if text[:end] in score:
                yield from ((text[:end], *rest) for rest in segmentations(text[end:]))

    weights = {parts: math.exp(0.5 * sum(score[part] for part in parts)) for parts in segmentations("▁abab")}
    assert len(weights) > 4
    drawn = tokenizer.sample(tokenizer.encode(["abab"]) * 20_000, 0.5, 1)
    counts = Counter(tuple(tokenizer.pieces(row)) for row in drawn)
    for parts, weight in weights.items():
        assert counts[parts] / 20_000 == pytest.approx(weight / sum(weights.values()), abs=0.015)


def test_pieces_that_span_words_are_sampled(tmp_path):
    (tmp_path / "any.model").write_bytes(foreign_model(split_by_whitespace=False, vocab_size=60))
    tokenizer = Tokenizer.adopt(tmp_path / "any.model")
    assert any("▁" in piece[1:] for piece in tokenizer.pieces(range(len(tokenizer))))
    rows = tokenizer.encode(SENTENCES)
    assert tokenizer.sample(rows, 1000.0, 1) == rows
    assert tokenizer.decode_all(tokenizer.sample(rows, 0.1, 1)) == SENTENCES


@pytest.mark.parametrize("kind", ["char", "word"])
def test_characters_and_words_have_nothing_to_sample(kind):
    with pytest.raises(UserError, match=f"type unigram or bpe; this one is {kind}"):
        train(type=kind).sample([[5]], 0.1, 1)


def test_the_fields_we_declare_are_those_of_sentencepiece():
    real = pytest.importorskip("sentencepiece.sentencepiece_model_pb2", exc_type=Exception).DESCRIPTOR
    messages = {
        "Model": real.message_types_by_name["ModelProto"],
        "TrainerSpec": real.message_types_by_name["TrainerSpec"],
        "NormalizerSpec": real.message_types_by_name["NormalizerSpec"],
        "Piece": real.message_types_by_name["ModelProto"].nested_types_by_name["SentencePiece"],
    }
    for name, ours in parse(b"").DESCRIPTOR.file.message_types_by_name.items():
        theirs = messages[name].fields_by_name
        for field in ours.fields:
            assert field.number == theirs[field.name].number
            if field.message_type is None:
                assert field.default_value == theirs[field.name].default_value


@pytest.mark.parametrize(
    ("characters", "kept"), [("abcdefghijklmnopqrstuvwxyz", True), (map(chr, range(0x4E00, 0x5500)), False)]
)
def test_automatic_coverage_keeps_rare_letters_of_alphabets(characters, kept):
    letters = list(characters)
    lines = [" ".join(letters)] * 200 + ["É"]
    tokenizer = Tokenizer.train(lines, TokenizerConfig(vocab_size=4000))
    assert (len(tokenizer.encode(["É"])[0]) <= 2) is kept
    assert tokenizer.decode(tokenizer.encode(["É"])[0]) == "É"

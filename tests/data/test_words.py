"""From tokens to words: word alignment, and replacement of unknown words."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli import LineHandling, Translator, UserError
from nmtcli.config import TokenizerConfig
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.data.words import NO_WORD, UNKNOWN, normalized_parts, raw_words, surfaces, word_numbers
from nmtcli.metrics.alignment import by_word, word_links
from nmtcli.models.protocol import Step
from nmtcli.translate.alignment import AttentionMap, terminal_map
from nmtcli.translate.assembly import replacements
from nmtcli.vocabulary import EOS, UNK
from tests.conftest import nmt, overrides

TEXTS = ["the old house by the sea", "a „green“ dog & two cats", "x²y ½ cup, naïve", "日本語 の 文", "<tag> here"]
KINDS = ["unigram", "bpe", "char", "word"]


def make(kind: str) -> Tokenizer:
    return Tokenizer.train(TEXTS * 5, TokenizerConfig(type=kind, vocab_size=340, symbols=("<tag>",)))


TOKENIZERS = {kind: make(kind) for kind in KINDS}
LINES = st.text("abehot²½…“é語<>tag▁\u200b\xa0¨ \u3000😀", max_size=20) | st.lists(
    st.sampled_from(" ".join(TEXTS).split()), max_size=8
).map(" ".join)


@pytest.mark.parametrize("kind", KINDS)
@given(line=LINES, data=st.data())
def test_parts_have_the_words_of_the_line_also_unknown_ones(kind, line, data):
    tokenizer = TOKENIZERS[kind]
    (ids,) = tokenizer.encode([line])
    if len(ids) < 2:
        return
    cuts = [0, *sorted(data.draw(st.sets(st.integers(1, len(ids) - 1)))), len(ids)]
    parts = normalized_parts(tokenizer, line, ids, cuts)
    if parts is not None:
        assert len(parts) == len(cuts) - 1
        assert " ".join(filter(None, parts)) == " ".join(tokenizer.normalize(line).split())
        if kind == "word":
            assert tokenizer.encode(parts) == [ids[begin:end] for begin, end in pairwise(cuts)]


def test_a_part_has_its_unknown_word():
    tokenizer = TOKENIZERS["word"]
    line = "the old Zzyzx by the sea"
    (ids,) = tokenizer.encode([line])
    assert normalized_parts(tokenizer, line, ids, [0, 3, 6]) == ["the old Zzyzx", "by the sea"]
    assert normalized_parts(tokenizer, line, ids[:3], [0, 3]) == ["the old Zzyzx"]
    tokenizer = TOKENIZERS["char"]
    (ids,) = tokenizer.encode(["the sea"])
    assert normalized_parts(tokenizer, "the sea", ids, [0, 2, len(ids)]) is None


@pytest.mark.parametrize("kind", KINDS)
@given(line=LINES)
def test_surfaces_spell_the_decoded_text(kind, line):
    tokenizer = TOKENIZERS[kind]
    (ids,) = tokenizer.encode([line])
    if UNK not in ids:  # SentencePiece puts blanks around what is unknown
        assert "".join(surfaces(tokenizer, ids)).strip(" ") == tokenizer.decode(ids)
    assert surfaces(tokenizer, [*ids, EOS])[-1] == ""


@pytest.mark.parametrize("kind", KINDS)
@given(line=LINES)
def test_every_token_has_a_word_of_the_raw_line(kind, line):
    tokenizer = TOKENIZERS[kind]
    (ids,) = tokenizer.encode([line])
    words = raw_words(tokenizer, line, ids)
    assert len(words) == len(ids)
    assert words == sorted(words)
    if ids and line.split():
        assert min(words) >= 0 and max(words) < len(line.split())


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_of_a_word_are_those_it_has_alone(kind):
    tokenizer = TOKENIZERS[kind]
    for line in [*TEXTS, "\u200b the  \xa0½ cup dog"]:
        words = line.split()
        (ids,) = tokenizer.encode([line])
        sizes = [len(ids) for ids in tokenizer.encode(words)]
        expected = [number for number, size in enumerate(sizes) for _ in range(size)]
        assert raw_words(tokenizer, line, ids) == expected


def test_character_spans_are_mapped_to_words():
    assert word_numbers([" a", "b", " ", "c", " d e", "f"]) == ([0, 0, 1, 1, 2, 3], 4)
    assert word_numbers(["", " "]) == ([-1, -1], 0)
    assert word_numbers(["a", " "]) == ([0, 0], 1)


@given(st.integers(1, 4), st.integers(1, 4), st.data())
def test_word_links_follow_token_links(sources, targets, data):
    """Where all tokens of a word look at tokens of one word, that is the link, however words are cut."""
    choice = [data.draw(st.integers(0, sources - 1)) for _ in range(targets)]
    source = [word for word in range(sources) for _ in range(data.draw(st.integers(1, 3)))]
    target = [word for word in range(targets) for _ in range(data.draw(st.integers(1, 3)))]
    weights = np.zeros((len(target) + 1, len(source) + 1), np.float32)
    weights[:, -1] = 0.4  # what goes to the end of the sentence counts for no word
    for row, word in enumerate(target):
        columns = [column for column, of in enumerate(source) if of == choice[word]]
        weights[row, data.draw(st.sampled_from(columns))] = 0.3
    links = word_links(weights, [*source, NO_WORD], [*target, NO_WORD])
    assert links == tuple((word, number) for number, word in enumerate(choice))
    weights[: target.count(0), :-1] = 0  # the first word looks at the end of the source alone
    assert word_links(weights, [*source, NO_WORD], [*target, NO_WORD]) == links[1:]
    assert word_links(weights[:, -1:], [NO_WORD], [*target, NO_WORD]) == ()


def test_the_attention_of_a_word_is_that_of_its_first_token():
    weights = np.array([[0.8, 0.2, 0], [0.1, 0.9, 0], [0.1, 0.9, 0], [0, 0.6, 0.4], [0, 0, 1]], np.float32)
    assert word_links(weights, [0, 1, NO_WORD], [0, 0, 0, 1, NO_WORD]) == ((0, 0), (1, 1))
    weights[0] = [0.55, 0.45, 0]  # unless it is in doubt
    assert word_links(weights, [0, 1, NO_WORD], [0, 0, 0, 1, NO_WORD]) == ((1, 0), (1, 1))


def test_word_attention_sums_its_source_tokens():
    weights = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    assert by_word(weights, [0, 0, 1, NO_WORD]).tolist() == [pytest.approx([0.3, 0.3])]
    assert by_word(weights, [NO_WORD] * 4).shape == (1, 0)


def test_unknown_words_are_replaced_from_the_dictionary_or_copied():
    weights = np.eye(3, dtype=np.float32)
    words = [0, 1, NO_WORD]
    ids = [UNK, UNK, 9]
    assert replacements(ids, weights, words, "Zug fährt", {}) == {0: "Zug", 1: "fährt"}
    assert replacements(ids, weights, words, "Zug fährt", {"zug": "train", "fährt": "goes on"}) == {
        0: "train",
        1: "goes on",
    }
    assert replacements(ids, weights[:, :0], [], "", {}) == {}
    tokenizer = TOKENIZERS["word"]
    (known,) = tokenizer.encode(["the house"])
    found = surfaces(tokenizer, [known[0], UNK, known[1]], {1: "old blue"})
    assert "".join(found) == " the old blue house"
    assert word_numbers(found) == ([0, 1, 3], 4)
    assert "".join(surfaces(tokenizer, [UNK])) == f" {UNKNOWN}"


class Copying:
    """A model that writes its source word by word, looking at each; what it does not know too."""

    parallel_batches = 1

    def array(self, values):
        return values

    def start(self, source, source_length):
        return (source, source_length), (np.zeros((len(source), 1), np.int64),)

    def step(self, tokens, memory, cache):
        source, length = memory
        at = cache[0].reshape(tokens.shape)
        rows = np.arange(len(source))[:, None]
        log_probs = np.full((*tokens.shape, len(TOKENIZERS["word"])), -50.0, np.float32)
        place = np.minimum(at, length[:, None] - 1)
        np.put_along_axis(log_probs, source[rows, place][..., None], 0.0, axis=2)
        attention = np.zeros((*tokens.shape, source.shape[1]), np.float32)
        np.put_along_axis(attention, place[..., None], 1.0, axis=2)
        return Step(log_probs, ((at + 1).reshape(-1, 1),), attention)


@pytest.mark.parametrize("limit", [200, 2])
def test_a_copying_model_aligns_each_word_with_itself_and_keeps_unknown_words(trained, limit):
    tokenizer = TOKENIZERS["word"]
    search = Translator.load(trained, "cpu").search
    handling = LineHandling(max_source_tokens=limit, dictionary={"Haus": "house", "kleine": "quite small"})
    translator = Translator(Copying(), Tokenizers(tokenizer, tokenizer), search, handling)
    lines = ["the old Haus by Paris", "a kleine dog", "", "日本語 の 文"]
    found = translator.translate(lines, alignment=True)
    japanese = "日本語 の 文" if limit == 200 else "日本語 の文"  # parts are joined without a blank there
    assert [one.text for one in found] == ["the old house by Paris", "a quite small dog", "", japanese]
    assert [one.candidates[0].alignment for one in found if one.candidates] == [
        ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4)),
        ((0, 0), (1, 1), (2, 3)),  # of two words for one, the first
        ((0, 0), (1, 1), (2, 2)) if limit == 200 else ((0, 0), (1, 1)),
    ]
    plain = Translator(Copying(), Tokenizers(tokenizer, tokenizer), search)
    assert "Haus" not in plain.translate(lines)[0].text


class LookingAtTheTag(Copying):
    """Copies too; looks at the first token more than at the one it writes."""

    def step(self, tokens, memory, cache):
        step = super().step(tokens, memory, cache)
        first = np.arange(step.attention.shape[-1]) == 0
        return replace(step, attention=0.4 * step.attention + 0.6 * first)


def test_an_unknown_word_is_never_replaced_by_the_language_tag(trained):
    tokenizer = Tokenizer.train(TEXTS * 5, TokenizerConfig(type="word", vocab_size=340, symbols=("<2de>",)))
    search = Translator.load(trained, "cpu").search
    handling = LineHandling(dictionary={"Haus": "house"}, target_language="de")
    translator = Translator(LookingAtTheTag(), Tokenizers(tokenizer, tokenizer), search, handling)
    found = [one.text for one in translator.translate(["the old Haus", "Haus"])]
    assert found == ["<2de> the old house", "<2de> house"]


# ---- the command ----


def test_alignment_in_jsonl_and_in_its_own_file_agree(trained, tmp_path):
    (tmp_path / "in").write_text("one two three\n\nnine\n")
    apart, looks = tmp_path / "links", tmp_path / "looks.jsonl"
    run = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", "-b", "2"]
    assert nmt(*run, "--alignment", apart, "--attention", looks) == 0
    links, text = apart.read_text().split("\n"), (tmp_path / "out").read_text().split("\n")
    assert len(links) == 4 and links[1] == ""
    for line, source, target in zip(links, (3, 0, 1), text, strict=False):
        pairs = [tuple(map(int, link.split("-"))) for link in line.split()]
        assert [pair[1] for pair in pairs] == list(range(len(target.split(" ")) - target.split(" ").count("")))
        assert all(pair[0] < source for pair in pairs)
    matrices = [json.loads(line) for line in looks.read_text().splitlines()]
    assert [matrix["line"] for matrix in matrices] == [1, 2, 3]
    assert matrices[1]["weights"] == []
    assert np.array(matrices[0]["weights"]).shape == (len(matrices[0]["target"]), len(matrices[0]["source"]))
    assert np.array(matrices[0]["weights"]).sum(axis=1) == pytest.approx(1, abs=0.01)
    assert nmt(*run, "--format", "jsonl", "--alignment", "-", "--attention", tmp_path / "looks.json") == 0
    records = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [record["candidates"][0]["alignment"] for record in records if record["candidates"]] == [links[0], links[2]]
    drawn = json.loads((tmp_path / "looks.json").read_text())
    assert drawn == [matrices[0], matrices[2]]


def test_malformed_dictionaries_are_refused(trained, tmp_path, capsys):
    (tmp_path / "words").write_text("eins\tone\n\nzwei\t two \n")
    (tmp_path / "in").write_text("one\n")
    run = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", "--dictionary"]
    assert nmt(*run, tmp_path / "words") == 0
    for content, place in ((b"a\tb\nno tab\n", "words:2"), (b"\xff", "not UTF-8")):
        (tmp_path / "words").write_bytes(content)
        assert nmt(*run, tmp_path / "words") == 3
        assert place in capsys.readouterr().err


def test_alignment_of_a_model_without_attention_is_refused(data, tmp_path, capsys):
    settings = overrides(
        "model.embedding.size=8",
        "model.encoder.hidden_size=8",
        "model.decoder.hidden_size=8",
        "model.attention.type=none",
        "train.max_updates=1",
        "train.valid_sentences=2",
    )
    run = tmp_path / "run"
    assert nmt("train", data, "-o", run, "--device", "cpu", *settings) == 0
    for options in (["--alignment", tmp_path / "links"], ["--replace-unknown"]):
        assert nmt("translate", "-m", run, "-i", tmp_path / "absent", *options) == 2
        assert "no attention, which the alignment needs" in capsys.readouterr().err
    with pytest.raises(UserError, match="no attention"):
        Translator.load(run, "cpu").translate(["one"], alignment=True)


def test_attention_map_in_the_terminal():
    weights = np.array([[0.0, 0.3, 0.7], [1.0, 0.0, 0.0]], np.float32)
    drawn = terminal_map(AttentionMap(["▁ab", "▁猫", "</s>"], ["▁x", "</s>"], weights, ""), 40)
    assert drawn == "         <\n         /\n     a   s\n     b 猫>\n   x   ░░▓▓\n</s> ██\n"
    assert "do not fit in 10 columns" in terminal_map(
        AttentionMap(["▁a"] * 9, ["▁x"], np.ones((1, 9), np.float32), ""), 10
    )


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u3000"])
def test_any_space_divides_words_as_split_does(space):
    numbers, count = word_numbers([f"a{space}", "b", f"{space}c"])
    assert (numbers, count) == ([0, 1, 2], 3)
    assert len(f"a{space}b{space}c".split()) == count

"""Changed copies that are added to a training corpus (augment)."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.config import DataConfig
from nmtcli.data.directory import open_data
from nmtcli.data.links import Links
from nmtcli.errors import ExitCode
from nmtcli.prepare.augmentation import KINDS, Augmenter
from nmtcli.prepare.cleaning.characters import Texts
from nmtcli.prepare.cleaning.held_out import HeldOut
from nmtcli.prepare.pairs import Pairs
from nmtcli.prepare.report.report import Report
from nmtcli.settings import load_config
from tests.conftest import nmt, overrides
from tests.prepare.test_prepare import contents
from tests.prepare.test_protection import corpus, texts

NOTHING = HeldOut.of((), None)
LINKS = Links(np.array([[1, 1], [4, 3], [6, 4]]), np.array([3]))
PAIR = Pairs(["The old dog , sees it ."], ["Der alte Hund sieht ihn."], LINKS)
WORDS = st.lists(st.sampled_from(["Hello", "world", "<name>", "__URL__", "12", ",", ".", "안녕", "é"]), min_size=1)


def augmented(pairs: Pairs, held_out: HeldOut = NOTHING, seed: int = 1, **shares: float) -> tuple[Pairs, list[str]]:
    settings = DataConfig.model_validate({"seed": seed, "tokenizer": {"symbols": ["<name>"]}})
    return Augmenter(settings, held_out)(pairs, shares)


def many(count: int) -> Pairs:
    return Pairs([f"The dog {number} sees" for number in range(count)], [f"Hund {number}" for number in range(count)])


@pytest.mark.parametrize(
    ("kind", "source", "target"),
    [
        ("upper", "THE OLD DOG , SEES IT .", "DER ALTE HUND SIEHT IHN."),
        ("title", "The Old Dog , Sees It .", "Der Alte Hund Sieht Ihn."),
        ("lower_start", "the old dog , sees it .", "der alte Hund sieht ihn."),
        ("no_punctuation", "The old dog sees it", "Der alte Hund sieht ihn"),
    ],
)
def test_copies_of_each_kind(kind, source, target):
    copies, kinds = augmented(PAIR, **{kind: 1.0})
    assert (copies.sources, copies.targets, kinds) == ([source], [target], [kind])


def test_typing_errors_are_in_the_source_only():
    copies, _ = augmented(PAIR, typos=1.0)
    assert copies.targets == PAIR.targets
    assert copies.sources != PAIR.sources


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "placeholders"])
def test_links_of_a_copy_are_those_of_its_words(kind):
    copies, _ = augmented(PAIR, **{kind: 1.0})
    assert copies.links is not None
    expected = [[1, 1], [3, 3]] if kind == "no_punctuation" else [[1, 1], [4, 3], [6, 4]]
    assert copies.links.positions.tolist() == expected


@given(WORDS, WORDS)
def test_symbols_stay_and_every_copy_differs(source, target):
    pairs = Pairs([" ".join(source)], [" ".join(target)])
    copies, kinds = augmented(pairs, **dict.fromkeys(KINDS, 1.0))
    assert len(copies) == len(kinds) == len(set(kinds))
    for copy, other in zip(copies.sources, copies.targets, strict=True):
        assert copy != pairs.sources[0]
        for symbol in ("<name>", "__URL__"):
            assert copy.count(symbol) == pairs.sources[0].count(symbol)
            assert other.count(symbol) == pairs.targets[0].count(symbol)


def test_a_placeholder_takes_the_place_of_a_name():
    pairs = Pairs(["Tom knows Mary", "They know him"], ["Tom kennt Maria", "They kennen ihn"])
    copies, kinds = augmented(pairs, placeholders=1.0)
    assert kinds == ["placeholders"] * 2
    assert re.fullmatch("__(CODE|CUSTOM)__ knows Mary", copies.sources[0])
    assert copies.targets[0] == copies.sources[0].split()[0] + " kennt Maria"


def test_text_without_case_has_no_copy_in_another_case():
    korean = Pairs(["개가 있다"], ["There is a dog"])
    assert augmented(korean, upper=1, title=1, lower_start=1) == (Pairs([], []), [])
    assert augmented(Pairs(korean.targets, korean.sources), upper=1)[0].targets == korean.sources


def test_shares_are_those_of_the_pairs():
    shares = {"upper": 0.1, "typos": 0.5, "lower_start": 1.0}
    _, kinds = augmented(many(2000), **shares)
    for kind, share in shares.items():
        assert abs(kinds.count(kind) - 2000 * share) <= 100
    assert augmented(many(20)) == (Pairs([], []), [])


def test_copies_depend_on_texts_and_seed_only():
    shares = dict.fromkeys(KINDS, 0.3)
    pairs = many(100)
    copies, _ = augmented(pairs, **shares)
    backwards, _ = augmented(Pairs(pairs.sources[::-1], pairs.targets[::-1]), **shares)
    assert sorted(zip(copies.sources, copies.targets, strict=True)) == sorted(
        zip(backwards.sources, backwards.targets, strict=True)
    )
    assert augmented(pairs, **shares)[0] == copies
    assert augmented(pairs, seed=2, **shares)[0] != copies


def test_a_copy_that_is_held_out_is_dropped():
    held_out = HeldOut.of([(Texts(["THE DOG 3 SEES THE CAT"]), Texts(["x"]))], None)
    pairs = Pairs([f"The dog {number} sees the cat" for number in range(5)], list("abcde"))
    copies, _ = augmented(pairs, held_out, upper=1.0)
    assert len(copies) == 4


def prepare(folder: Path, output: str, augment: str, *more: object) -> Path:
    lines = "{source: %s, target: %s, alignment: %s, augment: %s}"
    train = lines % (*(folder / f"train.{side}" for side in ("en", "de", "links")), augment)
    valid = f"{{source: {folder / 'valid.en'}, target: {folder / 'valid.de'}}}"
    (folder / "c.yaml").write_text(f"data:\n  train: [{train}]\n  valid: [{valid}]\n")
    options = ["-o", folder / output, "-c", folder / "c.yaml", "--vocab-size", 400]
    assert nmt(*map(str, ["prepare", *options, *more])) == ExitCode.DONE
    return folder / output


@pytest.fixture
def folder(tmp_path) -> Path:
    corpus(tmp_path, "train", 120, 1)
    corpus(tmp_path, "valid", 12, 2)
    return tmp_path


def test_copies_are_added_to_the_training_data_only(folder):
    protect = overrides("data.protect=[url]")
    plain = open_data(prepare(folder, "plain", "{}", *protect))
    output = prepare(folder, "data", "{upper: 0.5, no_punctuation: 1, typos: 0.2}", *protect)
    data, report = open_data(output), Report.load(output)
    copies = report.train.corpora[0].copies
    assert set(copies) == {"upper", "typos"}  # the text has no punctuation
    assert data.manifest.train.pairs == data.manifest.corpora[0].pairs == len(data.train) == 120 + sum(copies.values())
    assert report.train.pairs_kept == 120
    assert data.valid.texts() == plain.valid.texts()
    written = texts(data)
    assert sorted(set(texts(plain))) == sorted(set(texts(plain)) & set(written))
    capitals = [pair for pair in written if pair[0].replace("__URL__", "").isupper()]
    assert len(capitals) == copies["upper"]
    assert all("__URL__" in target for source, target in capitals if "__URL__" in source)
    links = Links.unpack(data.train.links(np.arange(len(data.train))))
    assert (links.counts > 0).all()


def test_the_tokenizer_is_trained_on_copies_too(folder):
    pieces = []
    for name, augment in (("plain", "{}"), ("upper", "{upper: 1}")):
        tokenizer = open_data(prepare(folder, name, augment)).tokenizers.source
        pieces.append(len(tokenizer.encode(["DOG CAT MAT"])[0]))
    assert pieces[1] < pieces[0]


def test_processes_make_no_difference(folder):
    augment = "{upper: 0.3, typos: 0.3, lower_start: 0.3}"
    one, two = (prepare(folder, f"d{number}", augment, "--processes", number) for number in (1, 2))
    assert contents(one) == contents(two)
    other = prepare(folder, "d3", "{upper: 0.4, typos: 0.3, lower_start: 0.3}")
    assert open_data(one).manifest.fingerprint != open_data(other).manifest.fingerprint


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("{uper: 0.1}", "did you mean data.train.0.augment.upper?"),
        ("{upper: 2}", "less than or equal to 1"),
        ("{upper: true}", "valid number"),
    ],
)
def test_mistakes_are_refused(setting, message):
    with pytest.raises(Exception, match=message.replace("?", r"\?")):
        load_config(overrides=[f"data.train=[{{path: a.tsv, augment: {setting}}}]"])


@pytest.mark.parametrize("split", ["valid", "test"])
def test_only_training_text_is_augmented(split):
    with pytest.raises(Exception, match=f"{split}: only training corpora can have augment"):
        load_config(overrides=[f"data.{split}=[{{path: a.tsv, augment: {{upper: 0.1}}}}]"])

"""Masked spans of training and validation text (data.protect)."""

import json
import random
from pathlib import Path

import numpy as np
import pytest

from nmtcli.config import DataConfig
from nmtcli.data.directory import PreparedData, open_data
from nmtcli.data.links import Links
from nmtcli.errors import DataError, ExitCode
from nmtcli.prepare.pairs import Pairs
from nmtcli.prepare.protection import PairMasker
from nmtcli.prepare.report.report import Report
from nmtcli.settings import load_config
from nmtcli.text.masking import symbols
from nmtcli.text.spans import KINDS
from tests.conftest import TINY, nmt, overrides

WORDS = {"cat": "Katze", "dog": "Hund", "mat": "Matte", "sees": "sieht", "and": "und", "green": "grün", "old": "alt"}


def corpus(folder: Path, name: str, lines: int, seed: int) -> list[tuple[str, str]]:
    """A corpus with URLs and numbers in every second pair, and its word alignment."""
    choose = random.Random(seed)
    pairs, links = [], []
    for number in range(lines):
        words = choose.choices(list(WORDS), k=choose.randint(3, 8))
        sides = words, [WORDS[word] for word in words]
        extra = [[], ["12 km"], [f"https://x.org/{number}"], [f"www.a.org/{number}", f"{number + 10}"]][number % 4]
        at = choose.randint(0, len(words))
        pair = tuple(" ".join([*side[:at], *extra, *side[at:]]) for side in sides)
        pairs.append(pair)
        links.append(" ".join(f"{place}-{place}" for place in range(len(pair[0].split()))))
    for side, lines_of in zip(("en", "de", "links"), (*zip(*pairs, strict=True), links), strict=True):
        (folder / f"{name}.{side}").write_text("".join(line + "\n" for line in lines_of), "utf-8")
    return pairs


def prepare(folder: Path, output: str, *settings: str, code: int = ExitCode.DONE) -> Path:
    files = ["--train-source", "train.en", "--train-target", "train.de", "--valid-source", "valid.en"]
    files += ["--valid-target", "valid.de", "--train-alignment", "train.links"]
    paths = [folder / part if "." in part else part for part in files]
    options = ["-o", folder / output, "--vocab-size", "400", "-s", "en", "-t", "de", "--processes", "1"]
    assert nmt("prepare", *options, *paths, *overrides(*settings)) == code
    return folder / output


def texts(data: PreparedData) -> list[tuple[str, str]]:
    source, target = data.train.gather(np.arange(len(data.train)))
    tokenizers = data.tokenizers
    sides = tokenizers.source.decode_all(source.rows()), tokenizers.target.decode_all(target.rows())
    return list(zip(*sides, strict=True))


@pytest.fixture
def folder(tmp_path) -> Path:
    corpus(tmp_path, "train", 120, 1)
    corpus(tmp_path, "valid", 12, 2)
    return tmp_path


def test_spans_of_both_sides_become_symbols_of_one_token(folder):
    output = prepare(folder, "data", "data.protect=[url,number]")
    data = open_data(output)
    assert set(symbols(["url", "number", "custom", "code"])) == data.tokenizers.source.symbols
    masked = texts(data)
    assert len(masked) == 120
    assert not any("x.org" in side or "12 km" in side for pair in masked for side in pair)
    assert [pair for pair in data.valid.texts() if "__URL__ __NUMBER__" in pair[0] and "__URL__" in pair[1]]
    report = Report.load(output).train.masked
    assert report is not None
    assert report.pairs == sum("__" in source for source, _ in masked) == 90
    assert report.spans == {"url": 60, "number": 60}
    assert data.manifest.data.protect == ("url", "number")


def test_word_alignment_follows_masked_words(folder):
    data = open_data(prepare(folder, "data", "data.protect=[url,number]"))
    rows = np.arange(120)
    source, target = data.train.gather(rows)
    links = Links.unpack(data.train.links(rows))
    begin = np.cumsum(links.counts) - links.counts
    assert (links.counts > 0).all()
    pieces = data.tokenizers.source.pieces
    for row in rows.tolist():
        of_row = links.positions[begin[row] : begin[row] + links.counts[row]].tolist()
        sides = [pieces(side.rows()[row]) for side in (source, target)]
        pairs = {(sides[0][one], sides[1][two]) for one, two in of_row}
        for symbol in data.tokenizers.source.symbols:
            assert all(one == two for one, two in pairs if symbol in (one, two) and "▁" not in (one, two))
            assert (symbol, symbol) in pairs or symbol not in sides[0]


def test_links_of_masked_words_are_mapped_or_dropped():
    masker = PairMasker(DataConfig(protect=("number",), tokenizer={"symbols": ["<9>"]}))
    numbers = np.array([[0, 0], [1, 2], [2, 1], [3, 3]])
    links = Links(np.tile(numbers, (2, 1)), np.array([4, 4]))
    pairs = Pairs(["it 12 km far"] * 2, ["es km 12 weit", "es 12 km weit"], links)
    masked, counts = masker(pairs)
    assert masked.sources == ["it 12 km far", "it __NUMBER__ far"]
    assert masked.links is not None
    assert masked.links.positions.tolist() == [*numbers.tolist(), [0, 0], [1, 1], [2, 2]]
    assert counts == {1: {"number": 1}}
    odd = Pairs(["it is\u00a012 km"], ["es 12 km"], Links(np.array([[0, 0]]), np.array([1])))
    unsure, _ = masker(odd)
    assert unsure.links is not None
    assert unsure.links.counts.tolist() == [0]


def test_declared_symbols_stay():
    settings = {"protect": ["all"], "tokenizer": {"symbols": ["<name>", "__A__"]}}
    masked, _ = PairMasker(DataConfig.model_validate(settings))(Pairs(["<name> <b> __A__ __C__"], ["__C__ <b> <name>"]))
    assert masked.sources == ["<name> __TAG__ __A__ __SYMBOL__"]
    assert masked.targets == ["__SYMBOL__ __TAG__ <name>"]


def test_all_means_all_kinds_that_text_shows(tmp_path):
    built_in = tuple(kind for kind in KINDS if kind not in ("custom", "code"))
    assert load_config(overrides=["data.protect=all"]).data.protected == built_in
    assert load_config(overrides=["data.protect=[number, url]"]).data.protected == ("url", "number")
    assert load_config(overrides=["data.cleaning.markup=mask"]).data.protected == ("tag",)
    assert load_config().data.protected == ()


def test_an_unknown_kind_is_refused_with_the_nearest(folder, capsys):
    prepare(folder, "data", "data.protect=[ulr]", code=ExitCode.USAGE)
    assert "did you mean url?" in capsys.readouterr().err


def test_pairs_that_are_equal_when_masked_are_duplicates(tmp_path):
    corpus(tmp_path, "train", 120, 1)
    corpus(tmp_path, "valid", 12, 2)
    with (tmp_path / "train.en").open("a") as source, (tmp_path / "train.de").open("a") as target:
        source.writelines(f"I have {number} old cats at home now\n" for number in range(20, 30))
        target.writelines(f"Ich habe jetzt {number} alte Katzen zu Hause\n" for number in range(20, 30))
    with (tmp_path / "train.links").open("a") as links:
        links.write("\n" * 10)
    assert Report.load(prepare(tmp_path, "plain")).train.dropped["duplicate"] == 0
    assert Report.load(prepare(tmp_path, "masked", "data.protect=all")).train.dropped["duplicate"] == 9


@pytest.mark.parametrize(
    ("source", "target", "protect"),
    [
        ("the old dog sees 12 green cats", "der alte Hund sieht zwölf Katzen", "[number]"),
        ("the old dog sees 15 green cats", "der alte Hund sieht 15 grüne Katzen", "[number]"),
        ("the old dog sees 15 green cats", "der alte Hund sieht 15 grüne Katzen", "[]"),
    ],
    ids=["the same source, not masked", "the same when masked", "another number"],
)
def test_held_out_text_is_compared_masked_and_unmasked(folder, source, target, protect):
    held = "the old dog sees 12 green cats", "der alte Hund sieht 12 grüne Katzen"
    for name, pair in (("train", (source, target)), ("valid", held)):
        for side, text in zip(("en", "de"), pair, strict=True):
            with (folder / f"{name}.{side}").open("a") as file:
                file.write(text + "\n")
    with (folder / "train.links").open("a") as links:
        links.write("\n")
    dropped = Report.load(prepare(folder, "data", f"data.protect={protect}")).train.dropped["held-out"]
    assert dropped == (protect != "[]")


def test_copies_that_equal_held_out_text_when_masked_are_left_out(folder):
    for name, source in (("train", "The old dog sees 12 green cats"), ("valid", "the old dog sees 12 green cats")):
        for side, text in (("en", source), ("de", "der alte Hund sieht 12 grüne Katzen")):
            (folder / f"{name}.{side}").write_text(f"{text}\n{text} and more of it\n".replace("der", name))
    for protect in ("[]", "[number]"):
        files = {part: str(folder / name) for part, name in (("source", "train.en"), ("target", "train.de"))}
        corpora = f"data.train={json.dumps([{**files, 'augment': {'lower_start': 1.0}}])}"
        valid = f"data.valid={json.dumps([{part: file.replace('train.', 'valid.') for part, file in files.items()}])}"
        output = folder / f"data{protect}"
        languages = ["-s", "en", "-t", "de", "--vocab-size", "320"]
        settings = overrides(corpora, valid, f"data.protect={protect}", "data.cleaning.duplicates=false")
        assert nmt("prepare", "-o", output, *languages, *settings) == ExitCode.DONE
        assert not Report.load(output).train.corpora[0].copies


def test_a_reused_tokenizer_must_have_the_symbols(folder, capsys):
    plain = prepare(folder, "plain")
    files = ["--train-source", "train.en", "--train-target", "train.de", "--hold-out", "5"]
    paths = [folder / part if "." in part else part for part in files]
    command = ["prepare", "-o", folder / "more", "--tokenizer", plain, *paths, "--set", "data.protect=[url,number]"]
    assert nmt(*command) == ExitCode.USAGE
    assert "lacks placeholder symbols of url, number" in capsys.readouterr().err
    masked = prepare(folder, "masked", "data.protect=all")
    assert nmt(*[masked if part == plain else part for part in command]) == ExitCode.DONE


@pytest.mark.parametrize("settings", [["data.tokenizer.joint=false"], ["data.tokenizer.type=word"]])
def test_other_tokenizers_have_the_symbols_on_both_sides(folder, settings):
    data = open_data(prepare(folder, "data", "data.protect=[url]", *settings))
    for tokenizer in (data.tokenizers.source, data.tokenizers.target):
        assert tokenizer.symbols == set(symbols(["url", "custom", "code"]))
    assert any("__URL__" in source and "__URL__" in target for source, target in texts(data))


def test_validation_in_training_compares_masked_text(folder):
    data = prepare(folder, "data", "data.protect=[url,number]")
    assert nmt("train", data, "-o", folder / "run", "--device", "cpu", *overrides(*TINY)) == ExitCode.DONE
    lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any(line.get("bleu", -1) >= 0 or line.get("valid_bleu", -1) >= 0 for line in lines), lines[-1]


def test_without_protection_nothing_of_it_is_written(folder):
    output = prepare(folder, "data")
    manifest = (output / "manifest.json").read_text()
    assert "protect" not in manifest
    assert '"markup": true' in manifest  # as before 0.2.0, so that the fingerprint stays the same
    assert "masked" not in json.loads((output / "report.json").read_text())["train"]
    with pytest.raises(DataError):
        open_data(folder)

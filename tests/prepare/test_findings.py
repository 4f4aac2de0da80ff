"""Findings of the report about real text: unwritable characters, tags, wrong columns, unlike validation text."""

import random
from pathlib import Path

import pytest

from nmtcli.data.directory import open_data
from nmtcli.data.tokenizer import Tokenizers
from nmtcli.prepare.report.findings import Finding, findings
from nmtcli.prepare.report.report import Report
from tests.conftest import WORDS, nmt, overrides

CHINESE = "你好，世界！这是（测试）：真的吗？今天天气很好我们去公园散步吧".strip()


def source_lines(count: int, seed: int = 0, length: int = 5) -> list[str]:
    generator = random.Random(seed)
    return [" ".join(generator.choices(WORDS, k=length)) + f" {n}" for n in range(count)]


def target_lines(count: int, seed: int = 1, marks: str = "。") -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choices("你好世界这是测试真的吗今天气很", k=9)) + marks for _ in range(count)]


@pytest.fixture
def found(tmp_path):
    """Prepares text and returns the findings."""

    def find(*options: str, **texts: list[str] | str) -> tuple[Finding, ...]:
        given = {"train_source": source_lines(300), "train_target": target_lines(300)}
        given |= {"valid_source": source_lines(120, 5), "valid_target": target_lines(120, 6)} | texts
        files: list[str | Path] = []
        for name, lines in given.items():
            path = tmp_path / name
            if isinstance(lines, str):
                ending = "tmx" if lines.startswith("<tmx") else "tsv"
                path = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}.{ending}"
            path.write_text(lines if isinstance(lines, str) else "".join(f"{line}\n" for line in lines), "utf-8")
            files += [f"--{name.replace('_', '-')}", path]
        if "train" in texts:
            files = files[4:]
        usual = ["-s", "en", "-t", "zh", "--vocab-size", "420"]
        output = tmp_path / f"data-{len(list(tmp_path.iterdir()))}"
        assert nmt("prepare", "-o", output, *files, *usual, *options) == 0
        return findings(Report.load(output))

    return find


def about(found: tuple[Finding, ...], words: str) -> list[str]:
    return [one.text for one in found if words in one.text]


def test_default_settings_keep_all_characters(found):
    assert not about(found(train_target=target_lines(300, marks="，！（ｘ）")), "cannot output")


def test_characters_outside_the_vocabulary_are_reported_by_name(found):
    targets = [*target_lines(100, marks="！（）"), *target_lines(200, 3)]
    settings = overrides("data.tokenizer.normalization=nmt_nfkc")
    (text,) = about(found(*settings, train_target=targets), "cannot output")
    assert "33.3% of the texts of the training target (zh)" in text
    assert "！ (FULLWIDTH EXCLAMATION MARK, 100 times)" in text


@pytest.mark.parametrize("character", ["\u200c", "\u200b", "ำ", "²", "…", "ﷺ", "ｱ"])
def test_each_kind_of_loss_is_found(found, character):
    targets = [f"{line}{character}x" for line in target_lines(300)]
    settings = overrides("data.tokenizer.normalization=nmt_nfkc")
    assert len(about(found(*settings, train_target=targets), "cannot output")) == 1


@pytest.mark.parametrize("character", ["\u00a0", "\u3000", "\ufeff", "e\u0301", "\u1112\u1161"])
def test_invisible_characters_are_not_reported_as_lost(found, character):
    assert not about(found(train_target=[f"{line}{character}x" for line in target_lines(300)]), "cannot output")


def test_characters_encoded_as_bytes_are_reported_by_name(found):
    targets = [line + chr(0x3400 + n) for n, line in enumerate(target_lines(300))]
    (text,) = about(
        found(*overrides("data.tokenizer.character_coverage=0.98"), train_target=targets), "are single bytes"
    )
    assert "(CJK UNIFIED IDEOGRAPH-3438, 1 time)" in text


def test_dropped_markup_is_reported(found):
    targets = [f"<b>{line}</b>" if n < 9 else line for n, line in enumerate(target_lines(300))]
    (text,) = about(found(train_target=targets), "markup")
    assert "dropped 9 of 300" in text
    assert not about(found(*overrides("data.cleaning.markup=false"), train_target=targets), "markup")


def test_validation_text_of_another_length_is_reported(found):
    assert about(found(valid_source=source_lines(120, 5, length=12)), "much longer")
    assert not about(found(valid_source=source_lines(120, 5)), "much longer")
    longer = {"train_source": source_lines(300, length=7), "train_target": target_lines(300, marks="。" * 7)}
    assert about(found(**longer), "much shorter")


def test_validation_text_in_another_script_is_reported(found):
    mixed = [f"{line} hello you" for line in target_lines(120, 6)]
    assert about(found(valid_target=mixed), "of the letters of the validation target (zh) are ")


def test_columns_of_identifiers_are_reported(found):
    rows = "".join(
        f"TUID-{n}\t{s}\t{t}\n" for n, (s, t) in enumerate(zip(source_lines(300), target_lines(300), strict=True))
    )
    (text,) = about(found(train=rows), "identifiers")
    assert "training source" in text


def test_skipped_header_lines_are_reported(found):
    rows = "".join(f"{s}\t{t}\n" for s, t in zip(source_lines(300), target_lines(300), strict=True))
    (text,) = about(found(train="source\ttarget\n" + rows), "header line")
    assert text.startswith("1 header line skipped")
    assert not about(found(train=rows), "header line")


def test_removed_inline_codes_are_reported(found):
    units = "".join(
        f'<tu><tuv xml:lang="en"><seg><ph x="1"/>{s}</seg></tuv><tuv xml:lang="zh"><seg>{t}</seg></tuv></tu>'
        for s, t in zip(source_lines(300), target_lines(300), strict=True)
    )
    (text,) = about(found(train=f'<tmx version="1.4"><header/><body>{units}</body></tmx>'), "inline code")
    assert text.startswith("300 inline codes (tags of a translation tool) removed from the text")


def test_tags_are_kept_by_settings(found, tmp_path):
    targets = [f"<b>{line}</b>" for line in target_lines(300)]
    settings = overrides("data.cleaning.markup=false", "data.tokenizer.symbols=[<b>, </b>]")
    assert not about(found(*settings, train_target=targets), "markup")
    (data,) = tmp_path.glob("data-*")
    tokenizer = Tokenizers.load(data).target
    (ids,) = tokenizer.encode([targets[0]])
    assert tokenizer.decode(ids) == targets[0]
    assert open_data(data).manifest.train.pairs == 300


@pytest.mark.parametrize("sign", ["❤️", "☎︎", "👍🏽", "👩‍🚀", "🇰🇷", "1️⃣", "𝐀𝑏", "№", "²"])
def test_symbols_belong_to_no_script(found, sign):
    targets = [f"{line}{sign * 9}" for line in target_lines(300)]
    told = found(train_target=targets, valid_target=[f"{line}{sign * 9}" for line in target_lines(120, 6)])
    assert not [one.text for one in told if "of the letters" in one.text]


def test_reports_of_earlier_versions_can_be_read(data):
    import json

    path = data / "report.json"
    report = json.loads(path.read_text("utf-8"))
    for split in (report["train"], report["valid"]):
        for corpus in split["corpora"]:
            del corpus["notes"]
        for side in ("source", "target"):
            del split[side]["identifiers"]
            for field in ("unwritable_share", "unwritable", "spelled"):
                del split[f"{side}_tokens"][field]
    assert findings(Report.model_validate(report))

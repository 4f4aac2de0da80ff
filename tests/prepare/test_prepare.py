"""`nmt prepare` from the command line to the data directory, on a small corpus with the usual errors."""

import errno
import filecmp
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nmtcli.cli import run
from nmtcli.config import DataConfig, TokenizerConfig
from nmtcli.data.directory import Manifest, open_data
from nmtcli.data.tokenizer import Tokenizer, Tokenizers
from nmtcli.errors import DataError, ExitCode, ResourceError, UserError
from nmtcli.prepare import pipeline
from nmtcli.prepare.pipeline import Job, given_tokenizers, prepare_data
from nmtcli.prepare.report.report import Report

WORDS = {"cat": "Katze", "dog": "Hund", "mat": "Matte", "sees": "sieht", "and": "und", "green": "grün", "old": "alt"}


def corpus(lines: int, seed: int) -> tuple[list[str], list[str]]:
    choose = random.Random(seed)
    drawn = dict.fromkeys(tuple(choose.choices(list(WORDS), k=choose.randint(3, 8))) for _ in range(2 * lines))
    sentences = list(drawn)[:lines]  # none comes twice, so cleaning keeps them all
    return [" ".join(words) for words in sentences], [" ".join(map(WORDS.__getitem__, words)) for words in sentences]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines), "utf-8", newline="")
    return path


@pytest.fixture
def files(tmp_path) -> dict[str, Path]:
    source, target = corpus(120, seed=1)
    valid_source, valid_target = corpus(12, seed=2)
    return {
        "--train-source": write(tmp_path / "train.en", source),
        "--train-target": write(tmp_path / "train.de", target),
        "--valid-source": write(tmp_path / "valid.en", valid_source),
        "--valid-target": write(tmp_path / "valid.de", valid_target),
    }


def command(output: Path, files: dict[str, Path], *more: object) -> list[str]:
    named = [str(part) for option, path in files.items() for part in (option, path)]
    return ["prepare", "-o", str(output), *named, "--vocab-size", "300", *map(str, more)]


def contents(directory: Path) -> dict[Path, bytes]:
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_corpus_becomes_a_data_directory(files, tmp_path, capsys):
    output = tmp_path / "new" / "data"
    assert run(command(output, files, "-s", "en", "-t", "no")) == ExitCode.DONE
    table, log = capsys.readouterr()
    assert "kept" in table
    assert "train no" in table
    assert f"nmt train {output}" in log
    data = open_data(output)
    assert (data.manifest.source_language, data.manifest.target_language) == ("en", "no")
    assert (data.manifest.train.pairs, data.manifest.valid.pairs) == (120, 12)
    assert data.manifest.train.source_tokens == len(data.train.gather(np.arange(120))[0].ids)
    assert data.manifest.valid.target_tokens == len(data.valid.gather(np.arange(12))[1].ids)
    assert data.tokenizers.joint
    source, target = corpus(120, seed=1)
    sources, targets = data.train.gather(np.arange(120))
    assert data.tokenizers.source.decode_all(sources.rows()) == source
    assert data.tokenizers.target.decode_all(targets.rows()) == target
    assert list(zip(*corpus(12, seed=2), strict=True)) == data.valid.texts()
    assert [path.name for path in output.parent.iterdir()] == ["data"]
    for split, rows in (("train", 120), ("valid", 12)):
        assert len(datasets.load_from_disk(str(output / split))) == rows


def test_separate_tokenizers_and_several_files(files, tmp_path):
    source, target = corpus(12, seed=3)
    more = {"--train-source": write(tmp_path / "b.en", source), "--train-target": write(tmp_path / "b.de", target)}
    arguments = [*command(tmp_path / "data", files, "--separate"), *command(tmp_path / "data", more)[3:]]
    assert run(arguments) == ExitCode.DONE
    data = open_data(tmp_path / "data")
    assert not data.tokenizers.joint
    assert [(corpus.name, corpus.pairs) for corpus in data.manifest.corpora] == [("train", 120), ("b", 12)]
    assert len(data.train) == 132
    _, last = data.train.gather(np.array([131]))
    assert data.tokenizers.target.decode_all(last.rows()) == [target[11]]


def test_the_same_input_gives_the_same_bytes(files, tmp_path):
    for name in ("one", "two"):
        assert run(command(tmp_path / name, files, "--set", "data.tokenizer.training_pairs=50")) == ExitCode.DONE
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert not filecmp.dircmp(tmp_path / "one", tmp_path / "two").diff_files
    assert (
        run(command(tmp_path / "three", files, "--set", "data.tokenizer.training_pairs=50", "--set", "data.seed=2"))
        == 0
    )
    one, three = contents(tmp_path / "one"), contents(tmp_path / "three")
    assert one[Path("tokenizer.model")] != three[Path("tokenizer.model")]


def test_an_unchanged_corpus_is_not_prepared_again(files, tmp_path, capsys):
    output = tmp_path / "data"
    assert run(command(output, files)) == ExitCode.DONE
    before, table = contents(output), capsys.readouterr().out
    assert run(command(output, files)) == ExitCode.DONE
    again = capsys.readouterr()
    assert "already prepared" in again.err
    assert again.out == table
    assert contents(output) == before
    (output / "train" / "state.json").unlink()
    assert run(command(output, files)) == ExitCode.DATA


def test_other_settings_or_files_are_refused_and_nothing_is_touched(files, tmp_path, capsys):
    output = tmp_path / "data"
    assert run(command(output, files)) == ExitCode.DONE
    before = contents(output)
    assert run(command(output, files, "--set", "data.cleaning.max_tokens=77")) == ExitCode.USAGE
    assert "data.cleaning.max_tokens was 200, now 77" in capsys.readouterr().err
    write(files["--valid-source"], corpus(12, seed=3)[0])
    assert run(command(output, files)) == ExitCode.USAGE
    assert "other text" in capsys.readouterr().err
    assert contents(output) == before


def test_other_files_are_never_overwritten(files, tmp_path, capsys):
    folder = tmp_path / "mine"
    folder.mkdir()
    assert run(command(folder, files)) == ExitCode.DONE  # empty, so free
    for path in (tmp_path, files["--valid-source"]):
        before = contents(tmp_path)
        assert run(command(path, files)) == ExitCode.USAGE
        assert "exists and is not a data directory" in capsys.readouterr().err
        assert contents(tmp_path) == before
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "manifest.json").write_text('{"name": "of a web application"}')
    assert run(command(tmp_path / "site", files)) == ExitCode.USAGE
    assert "exists and is not a data directory" in capsys.readouterr().err
    assert run(command(files["--valid-source"] / "below", files)) == ExitCode.USAGE
    assert "cannot write there" in capsys.readouterr().err
    assert run(command(tmp_path / ("x" * 300), files)) == ExitCode.USAGE
    assert "cannot read: " in capsys.readouterr().err


def dirty(files: dict[str, Path]) -> None:
    """Ten good training pairs with U+0085 and U+2028, and one or more of each kind that is dropped."""
    pairs = [(f"a cat\x85number {n}", f"eine\u2028Katze {n}") for n in range(10)]
    pairs += [("", "leer"), ("empty", " \t"), ("\u200b", "nichts")]
    pairs += [("long " * 30, "lang")] + [("one two three four", "eins zwei drei vier")] * 2
    source, target = ("".join(side + "\r\n" for side in sides).encode() for sides in zip(*pairs, strict=True))
    files["--train-source"].write_bytes(gzip.compress(source + b"f\xfcr\n"))
    files["--train-target"].write_bytes(b"\xef\xbb\xbf" + target + b"for\n")
    write(files["--valid-source"], ["a\x85b", "", "long " * 50])
    write(files["--valid-target"], ["x\u2028y", "empty", "lang " * 50])


LIMITS = (
    "--set",
    "data.cleaning.max_characters=100",
    "--set",
    "data.cleaning.max_tokens=20",
    "--set",
    "data.tokenizer.character_coverage=1",
)


def test_dropped_pairs_are_counted_by_rule(files, tmp_path, capsys):
    dirty(files)
    assert run(command(tmp_path / "data", files, *LIMITS)) == ExitCode.DONE
    report = Report.load(tmp_path / "data")
    dropped = {name: rule.dropped for name, rule in report.train.rules.items() if rule.dropped}
    assert dropped == {"invalid-utf8": 1, "empty": 3, "too-many-characters": 1, "duplicate": 1}
    assert (report.train.pairs_read, report.train.pairs_kept, report.train.corpora[0].crlf_lines) == (17, 11, 32)
    valid = {name: rule.dropped for name, rule in report.valid.rules.items()}
    assert valid == {"malformed": 0, "invalid-utf8": 0, "empty": 1}
    (example,) = report.train.rules["invalid-utf8"].examples
    assert (example.file, example.line, example.reason) == (
        str(files["--train-source"]),
        17,
        "byte 2 of the line is not UTF-8",
    )
    assert [example.line for example in report.train.rules["empty"].examples] == [11, 12, 13]
    table = capsys.readouterr().out
    assert f"invalid-utf8: {files['--train-source']}:17: byte 2 of the line is not UTF-8\n" in table
    assert "CRLF" in table
    data = open_data(tmp_path / "data")
    assert [pair.source for pair in data.valid.texts()] == ["a\x85b", "long " * 50]
    assert len(data.train) == 11


def test_too_many_tokens_are_dropped_after_tokenisation(files, tmp_path):
    arguments = command(tmp_path / "data", files, "--set", "data.cleaning.max_tokens=5")
    assert run(arguments) == ExitCode.DONE
    report, data = Report.load(tmp_path / "data"), open_data(tmp_path / "data")
    assert report.train.rules["too-many-tokens"].dropped == 120 - len(data.train) > 0
    assert data.train.longest <= 5 < data.valid.longest


def test_a_dry_run_counts_and_writes_nothing(files, tmp_path, capsys):
    dirty(files)
    before = contents(tmp_path)
    assert run(command(tmp_path / "data", files, *LIMITS, "--dry-run")) == ExitCode.DONE
    table, log = capsys.readouterr()
    assert "dry run" in log
    assert "invalid-utf8" in table
    assert "vocabulary" not in table
    assert contents(tmp_path) == before
    assert not (tmp_path / "data").exists()


def test_the_report_page_can_be_written_to_another_file(files, tmp_path, capsys):
    assert run(command(tmp_path / "data", files)) == ExitCode.DONE
    assert run(command(tmp_path / "data", files, "--report", tmp_path / "again.html")) == ExitCode.DONE
    assert (tmp_path / "again.html").read_bytes() == (tmp_path / "data" / "report.html").read_bytes()
    arguments = [*command(tmp_path / "x", files)[:1], *command(tmp_path / "x", files)[3:]]  # no -o
    assert run([*arguments, "--dry-run", "--report", str(tmp_path / "look.html")]) == ExitCode.DONE
    assert b"<!doctype html>" in (tmp_path / "look.html").read_bytes().lower()
    assert run(arguments) == ExitCode.USAGE
    assert "-o DATA is missing" in capsys.readouterr().err
    before = files["--train-source"].read_bytes()
    for place in (tmp_path / "no" / "x.html", files["--train-source"]):
        assert run([*arguments, "--dry-run", "--report", str(place)]) == ExitCode.USAGE
        assert place.name in capsys.readouterr().err
    assert files["--train-source"].read_bytes() == before


def test_no_kept_pairs_is_an_error_with_counts(files, tmp_path, capsys):
    write(files["--train-source"], [""] * 120)
    assert run(command(tmp_path / "data", files)) == ExitCode.DATA
    assert "all 120 train pairs were dropped (empty: 120)" in capsys.readouterr().err


def test_files_of_different_length_are_refused(files, tmp_path, capsys):
    write(files["--train-target"], corpus(119, seed=1)[1])
    write(files["--valid-target"], corpus(14, seed=2)[1])
    assert run(command(tmp_path / "data", files)) == ExitCode.DATA
    error = capsys.readouterr().err
    assert f"{files['--train-source']} has 120 lines, {files['--train-target']} 119" in error
    assert f"{files['--valid-source']} has 12 lines, {files['--valid-target']} 14" in error
    assert not (tmp_path / "data").exists()


def test_errors_of_all_files_are_reported_together(files, tmp_path, capsys):
    files["--train-source"].unlink()
    files["--train-target"].write_bytes("Hund\n".encode("utf-16"))
    files["--valid-source"].write_bytes(b"")
    assert run(command(tmp_path / "data", {**files, "--valid-target": tmp_path})) == ExitCode.DATA
    error = capsys.readouterr().err
    for words in ("train.en: no such file", "train.de: is UTF-16", "valid.en: is empty", "is a directory", "iconv"):
        assert words in error
    assert "Traceback" not in error


def test_a_truncated_gzip_file_is_refused(files, tmp_path, capsys):
    content = gzip.compress(random.Random(1).randbytes(100_000).replace(b"\0", b"\n"))
    files["--train-source"].write_bytes(content[:50_000])
    assert run(command(tmp_path / "data", files)) == ExitCode.DATA
    assert "train.en: damaged or cut short" in capsys.readouterr().err


def test_command_line_errors_of_prepare(files, tmp_path, capsys):
    train = dict(list(files.items())[:2])
    assert run(command(tmp_path / "data", train)) == ExitCode.USAGE
    assert "no validation text: give --valid-source and --valid-target" in capsys.readouterr().err
    assert run(command(tmp_path / "data", files, "--train-source", files["--train-source"])) == ExitCode.USAGE
    assert "2 --train-source and 1 --train-target files" in capsys.readouterr().err
    assert run(command(tmp_path / "data", files, "--vocab-size", "3")) == ExitCode.USAGE
    assert "data.tokenizer.vocab_size" in capsys.readouterr().err
    assert run(command(tmp_path / "data", files, "--vocab-size", "100")) == ExitCode.USAGE
    assert "data.tokenizer.vocab_size 100 is too small" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_options_override_the_settings_file(files, tmp_path):
    config = write(tmp_path / "c.yaml", ["data:", "  tokenizer: {vocab_size: 9000, type: bpe}"])
    assert run(command(tmp_path / "data", files, "-c", config)) == ExitCode.DONE
    tokenizer = Manifest.load(tmp_path / "data").data.tokenizer
    assert (tokenizer.vocab_size, tokenizer.type) == (300, "bpe")


@pytest.mark.parametrize("stage", ["reading train", "training the tokenizer", "encoding train", "encoding valid"])
@pytest.mark.parametrize(
    ("raised", "seen"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError(errno.ENOSPC, "full"), ResourceError)]
)
def test_a_run_that_stops_midway_leaves_nothing(stage, raised, seen, files, tmp_path):
    def stop(current: str, done: int, total: int) -> None:
        if current == stage:
            raise raised

    before = contents(tmp_path)
    (tmp_path / ".data.partial" / "train").mkdir(parents=True)  # what a killed run leaves
    (tmp_path / ".data.partial" / "train" / "part-00000.arrow").write_bytes(b"half")
    sides = [str(path) for path in files.values()]
    corpora = [{"source": source, "target": target} for source, target in (sides[:2], sides[2:])]
    config = DataConfig.model_validate({"tokenizer": {"vocab_size": 300}, "train": corpora[:1], "valid": corpora[1:]})
    with pytest.raises(seen):
        prepare_data(tmp_path / "data", Job(config), stop)
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []


def test_a_directory_without_data_is_refused(files, tmp_path):
    with pytest.raises(DataError, match=r"not a data directory: it has no manifest\.json"):
        open_data(tmp_path)
    with pytest.raises(DataError, match="not a data directory"):
        open_data(files["--train-source"])
    for content, message in {"{": "not JSON", "[]": "not a manifest", '{"format": 1}': "before 0.1"}.items():
        write(tmp_path / "manifest.json", [content])
        with pytest.raises(DataError, match=message):
            open_data(tmp_path)


def test_a_newer_format_and_swapped_files_are_refused(files, tmp_path):
    for name, size in (("one", 300), ("two", 290)):
        assert run([*command(tmp_path / name, files), "--vocab-size", str(size)]) == ExitCode.DONE
    manifest = tmp_path / "one" / "manifest.json"
    (tmp_path / "one" / "tokenizer.model").write_bytes((tmp_path / "two" / "tokenizer.model").read_bytes())
    with pytest.raises(DataError, match=r"do not match its manifest\.json"):
        open_data(tmp_path / "one")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99, "surprise": 1}))
    with pytest.raises(DataError, match="newer nmt"):
        open_data(tmp_path / "one")


def test_preparing_needs_neither_torch_nor_datasets():
    code = "import sys, nmtcli.prepare.pipeline; print({'torch', 'pandas', 'datasets'} & set(sys.modules) or 'none')"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "none\n"


def test_corpora_of_a_config_file_with_names_and_tags(files, tmp_path, capsys):
    source, target = corpus(30, seed=3)
    rows = [json.dumps({"translation": {"en": s, "de": t}}) for s, t in zip(source, target, strict=True)]
    write(tmp_path / "back.jsonl", rows)
    config = write(
        tmp_path / "data.yaml",
        [
            "data:",
            "  source_language: en",
            "  target_language: de",
            "  train:",
            f"    - {{name: real, source: {files['--train-source']}, target: {files['--train-target']}}}",
            f"    - {{path: {tmp_path / 'back.jsonl'}, tag: <bt>}}",
        ],
    )
    valid = {option: path for option, path in files.items() if "valid" in option}
    assert run([*command(tmp_path / "data", valid), "-c", str(config)]) == ExitCode.DONE
    data = open_data(tmp_path / "data")
    assert [(corpus.name, corpus.pairs) for corpus in data.manifest.corpora] == [("real", 120), ("back", 30)]
    (tag,) = data.tokenizers.source.encode(["<bt>"])
    sentences, _ = data.train.gather(np.arange(150))
    decoded = data.tokenizers.source.decode_all(sentences.rows())
    assert decoded[:120] == corpus(120, seed=1)[0]
    assert decoded[120:] == [f"<bt> {line}" for line in source]
    assert all(row[: len(tag)] == tag for row in sentences.rows()[120:])
    assert "real" in capsys.readouterr().out

    tagged = config.read_text() + f"  valid: [{{path: {tmp_path / 'back.jsonl'}, tag: <bt>}}]\n"
    write(tmp_path / "tagged.yaml", [tagged, "  cleaning: {held_out: false}"])
    assert run(["prepare", "-o", str(tmp_path / "tagged"), "-c", str(tmp_path / "tagged.yaml")]) == ExitCode.DONE
    valid_of = open_data(tmp_path / "tagged")
    texts = [pair.source for pair in valid_of.valid.texts()]  # what validation translates is what the ids say
    assert all(text.startswith("<bt> ") for text in texts)
    ids, _ = valid_of.valid.gather(np.arange(len(texts)))
    assert list(map(list, ids.rows())) == valid_of.tokenizers.source.encode(texts)

    other = command(tmp_path / "plain", files)
    assert run(other) == ExitCode.DONE
    reuse = [*command(tmp_path / "x", valid), "-c", str(config), "--tokenizer", str(tmp_path / "plain")]
    assert run(reuse) == ExitCode.USAGE
    assert "has no symbol <bt>" in capsys.readouterr().err


def test_a_given_tokenizer_is_reused_unchanged(files, tmp_path):
    assert run(command(tmp_path / "one", files, "--separate")) == ExitCode.DONE
    more = {**files, "--train-source": files["--valid-source"], "--train-target": files["--valid-target"]}
    again = ["--tokenizer", tmp_path / "one", "--set", "data.cleaning.held_out=false"]
    assert run(command(tmp_path / "two", more, *again)) == ExitCode.DONE
    one, two = open_data(tmp_path / "one"), open_data(tmp_path / "two")
    assert one.tokenizers == two.tokenizers
    assert len(two.train) == 12
    assert run(command(tmp_path / "x", files, "--tokenizer", files["--train-source"])) == ExitCode.DATA


@pytest.mark.parametrize("lowercase", [False, True])
def test_rules_compare_text_in_the_case_of_a_reused_tokenizer(files, tmp_path, lowercase):
    """Whatever data.tokenizer.lowercase says: it is for a tokenizer that is trained."""
    case = f"data.tokenizer.lowercase={str(lowercase).lower()}"
    assert run(command(tmp_path / "one", files, "--set", case)) == ExitCode.DONE
    for name in ("--train-source", "--train-target"):
        lines = files[name].read_text("utf-8").splitlines()
        write(files[name], [*lines, *(line.upper() for line in lines)])
    other = f"data.tokenizer.lowercase={str(not lowercase).lower()}"
    for number, given in enumerate(([], ["--set", other])):
        output = tmp_path / f"two-{number}"
        assert run(command(output, files, "--tokenizer", tmp_path / "one", *given)) == ExitCode.DONE
        data = open_data(output)
        assert data.manifest.data.tokenizer.lowercase == lowercase
        once = len(open_data(tmp_path / "one").train)
        assert len(data.train) == (once if lowercase else 2 * once)


def test_a_tag_that_the_tokenizer_reserves_is_refused_at_once(files, tmp_path, capsys):
    for tag in ("<s>", "<unk>", "<0x41>"):
        corpus = f"data.train=[{{source: {files['--train-source']}, target: {files['--train-target']}, tag: {tag}}}]"
        valid = {option: path for option, path in files.items() if "valid" in option}
        assert run(command(tmp_path / "data", valid, "--set", corpus)) == ExitCode.USAGE
        assert f"data.train.0.tag: the symbol {tag} is reserved" in capsys.readouterr().err


def test_errors_in_a_list_of_corpora_have_their_line(files, tmp_path, capsys):
    lines = [
        "data:",
        "  train:",
        "    - {source: a.en}",
        "    - {path: b.tsv,",
        "       colums: [1, 2]}",
        "    - {hub: x, path: y}",
    ]
    config = write(tmp_path / "data.yaml", lines)
    assert run(command(tmp_path / "data", files, "-c", config)) == ExitCode.USAGE
    words = capsys.readouterr().err
    assert f"{config}:3: data.train.0: source and target go together" in words
    assert f"{config}:5: unknown key data.train.1.colums; did you mean data.train.1.columns?" in words
    assert f"{config}:6: data.train.2: a corpus is either source and target, or path, or hub" in words


def test_two_processes_do_not_prepare_into_one_directory(files, tmp_path, capsys):
    def second(stage: str, done: int, total: int | None) -> None:
        if stage == "reading train" and total:
            assert run(command(tmp_path / "data", files)) == ExitCode.USAGE
            assert "another nmt process is writing it" in capsys.readouterr().err

    sides = [str(path) for path in files.values()]
    corpora = [{"source": source, "target": target} for source, target in (sides[:2], sides[2:])]
    config = DataConfig.model_validate({"tokenizer": {"vocab_size": 300}, "train": corpora[:1], "valid": corpora[1:]})
    prepare_data(tmp_path / "data", Job(config), second)
    assert len(open_data(tmp_path / "data").train) == 120


def test_a_dry_run_shows_why_all_pairs_are_dropped(files, tmp_path, capsys):
    write(files["--train-target"], corpus(120, seed=1)[0])
    assert run(command(tmp_path / "data", files, "--dry-run")) == ExitCode.DATA
    table, words = capsys.readouterr()
    assert "copied" in table
    assert "cleaning drops every training pair" in words


def test_a_tokenizer_must_know_the_symbols(files, tmp_path, capsys):
    assert run(command(tmp_path / "one", files)) == ExitCode.DONE
    more = ["--tokenizer", tmp_path / "one", "--set", 'data.tokenizer.symbols=["<name>"]']
    assert run(command(tmp_path / "two", files, *more)) == ExitCode.USAGE
    assert "has no symbol <name>" in capsys.readouterr().err


def test_symbols_of_both_sides_must_be_in_both_tokenizers(tmp_path):
    tokenizers = Tokenizers(
        *(
            Tokenizer.train(["one two"] * 20, TokenizerConfig(vocab_size=300), symbols)
            for symbols in (("<name>", "<bt>"), ("<bt>",))
        )
    )
    tokenizers.save(tmp_path)
    config = DataConfig(tokenizer={"symbols": ["<bt>"]})
    assert given_tokenizers(Job(config, tokenizer=tmp_path), ("<name>",)) is not None
    config = DataConfig(tokenizer={"symbols": ["<name>", "<bt>"]})
    with pytest.raises(UserError, match=r"has no symbol <name>$"):
        given_tokenizers(Job(config, tokenizer=tmp_path), ("<bt>",))


def test_another_format_of_a_file_is_other_text(tmp_path, capsys):
    rows = [f"{one},x\t{other}" for one, other in zip(*corpus(60, seed=1), strict=True)]
    file = write(tmp_path / "rows.txt", rows)
    command = ["prepare", "-o", str(tmp_path / "data"), "-c", str(tmp_path / "c.yaml"), "--hold-out", "5"]
    for form, code in (("csv", ExitCode.DONE), ("tsv", ExitCode.USAGE)):
        corpora = f"[{{path: {file}, format: {form}, columns: [1, 2]}}]"
        write(tmp_path / "c.yaml", ["data:", f"  train: {corpora}", "  source_language: en", "  target_language: de"])
        assert run([*command, "--vocab-size", "300"]) == code
    assert "prepared differently" in capsys.readouterr().err


def test_data_sets_of_the_hub_are_in_the_manifest(files, tmp_path, monkeypatch):
    source, target = corpus(120, seed=1)
    rows = [{"source": one, "target": other} for one, other in zip(source, target, strict=True)]
    monkeypatch.setattr("nmtcli.prepare.readers.hub._stream", lambda name, options: iter(rows))
    config = write(tmp_path / "data.yaml", ["data:", "  train: [{hub: somebody/texts}]"])
    valid = {option: path for option, path in files.items() if "valid" in option}
    assert run([*command(tmp_path / "data", valid), "-c", str(config)]) == ExitCode.DONE
    assert open_data(tmp_path / "data").manifest.hubs == ("somebody/texts",)


@pytest.mark.parametrize("change", ["same length", "longer", "shorter"])
def test_a_file_that_changes_while_it_is_read_is_told(files, tmp_path, capsys, monkeypatch, change):
    """Between the two passes."""
    train, paths = pipeline.train_tokenizers, [files["--train-source"], files["--train-target"]]

    def changing(*arguments):
        for path in paths:
            lines = path.read_text("utf-8").splitlines()
            write(path, {"same length": lines[::-1], "longer": [*lines, "cat"], "shorter": lines[:-1]}[change])
        return train(*arguments)

    monkeypatch.setattr(pipeline, "train_tokenizers", changing)
    assert run(command(tmp_path / "data", files)) == ExitCode.DATA
    words = capsys.readouterr().err
    assert "the file changed while it was read" in words or f"{paths[0]}: changed while it was read" in words
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("rule", ["duplicates", "duplicate_sources"])
def test_sources_with_other_tags_are_no_duplicates(files, tmp_path, rule):
    names = {side: files[f"--train-{side}"] for side in ("source", "target")}
    corpora = [
        f"{{name: {name}, source: {names['source']}, target: {names['target']}, tag: <2{tag}>}}"
        for name, tag in (("a", "de"), ("b", "fr"), ("c", "fr"))
    ]
    valid = {option: path for option, path in files.items() if "valid" in option}
    settings = [f"data.train=[{', '.join(corpora)}]", f"data.cleaning.{rule}=true"]
    given = [part for setting in settings for part in ("--set", setting)]
    assert run(command(tmp_path / "data", valid, *given)) == 0
    sizes = {one.name: one.pairs for one in Manifest.load(tmp_path / "data").corpora}
    assert sizes == {"a": 120, "b": 120, "c": 0}


def test_records_that_no_program_writes_right_cost_their_row_only(files, tmp_path):
    rows = [{"en": source, "de": target} for source, target in zip(*corpus(120, seed=1), strict=True)]
    lines = [*map(json.dumps, rows), '{"\\ud800": "a"}', '{"en": ["\\ud800"], "de": "b"}']
    (tmp_path / "text.jsonl").write_text("\n".join(lines) + "\n")
    far = pa.array([253402300800] * len(rows), pa.timestamp("s"))
    columns = {"when": far, **{side: [row[side] for row in rows] for side in ("en", "de")}}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    valid = [part for option, path in files.items() if "valid" in option for part in (option, path)]
    for name in ("text.jsonl", "a.parquet"):
        options = ["-s", "en", "-t", "de", "--train", tmp_path / name, *valid, "--vocab-size", "300"]
        assert run(["prepare", "-o", str(tmp_path / f"data-{name}"), *map(str, options)]) == 0
        assert Report.load(tmp_path / f"data-{name}").train.pairs_kept == 120


def test_languages_name_the_files_of_drawn_text(files, tmp_path, capsys):
    train = {option: path for option, path in files.items() if "train" in option}
    assert run(command(tmp_path / "data", train, "--hold-out", "5", "-s", "zh/Hans", "-t", "de")) == 2
    assert "language zh/Hans: cannot be the ending of a file name" in capsys.readouterr().err

"""Lines in, lines out: windows, formats, long lines, odd characters, JSON lines, interactive pipes."""

import io
import json
import os
import random
import re
import subprocess
import sys
from itertools import pairwise

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from nmtcli import LineHandling, Translation, Translator
from nmtcli.errors import DataError
from nmtcli.translate import lines as module
from nmtcli.translate.formats import Format, render
from nmtcli.translate.job import Job, translate_windows
from nmtcli.translate.lines import DEEPEST, MAX_LINE_BYTES, LineReader, Prefix, Report, parse_json
from nmtcli.translate.long_lines import cut_points, joint
from nmtcli.translate.translation import Candidate
from tests.conftest import nmt


@pytest.fixture(scope="module")
def translator(trained) -> Translator:
    return Translator.load(trained, "cpu", beam_size=2)


# ---- windows ----


class Dripping(io.RawIOBase):
    """A pipe that gives what it has in the given portions."""

    def __init__(self, portions: list[bytes]) -> None:
        self.portions = portions

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        portion = self.portions.pop(0) if self.portions else b""
        if len(portion) > len(buffer):
            self.portions.insert(0, portion[len(buffer) :])
        portion = portion[: len(buffer)]
        buffer[: len(portion)] = portion
        return len(portion)


def dripping(content: bytes, size: int) -> io.BufferedReader:
    return io.BufferedReader(Dripping([content[at : at + size] for at in range(0, len(content), size)]))


@given(st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"\r")), max_size=30), st.integers(1, 50))
def test_windows_do_not_depend_on_read_sizes(lines, size):
    content = b"".join(line + b"\n" for line in lines)
    for wait in (True, False):
        windows = list(LineReader(dripping(content, size), wait=wait).windows())
        assert [line for window in windows for line in window.lines] == lines
        assert [window.first for window in windows] == [
            1 + sum(len(before.lines) for before in windows[:n]) for n in range(len(windows))
        ]
        if windows and wait:
            assert windows[-1].end == Prefix(bytes=len(content), digest=xxhash.xxh3_128_hexdigest(content))


def test_windows_depend_on_the_text_only(monkeypatch):
    content = b"".join(b"x" * random.Random(n).randrange(60) + b"\n" for n in range(900)) + b"no end"
    monkeypatch.setattr(module, "MAX_LINES", 100)
    monkeypatch.setattr(module, "MAX_BYTES", 2000)
    whole = list(LineReader(io.BytesIO(content)).windows())
    assert whole == list(LineReader(dripping(content, 7)).windows())
    assert sum(len(window.lines) for window in whole) == 901
    assert max(sum(map(len, window.lines)) for window in whole) < 2060
    for window in whole:  # and a reader that goes on anywhere sees the rest of them
        reader = LineReader(dripping(content, 5))
        reader.skip(window.end, window.first + len(window.lines) - 1)
        assert list(reader.windows()) == whole[whole.index(window) + 1 :]


def test_resume_with_another_input_is_refused():
    done = next(LineReader(io.BytesIO(b"a\nb\n")).windows()).end
    for other in (b"a\nc\n", b"a\n", b""):
        with pytest.raises(DataError, match="not that of"):
            LineReader(io.BytesIO(other)).skip(done, 2)


class Endless:
    """Lines without end, and how many bytes were asked for."""

    given = 0

    def read1(self, size: int) -> bytes:
        self.given += size
        return (b"one two\n" * size)[:size]


@pytest.mark.parametrize("processes", [None, 2])
def test_memory_holds_a_few_windows_of_an_endless_input(trained, processes, monkeypatch):
    monkeypatch.setattr(module, "MAX_LINES", 20)
    endless = Endless()
    job = Job((next((trained / "checkpoints").iterdir()),), "cpu", {"beam_size": 1})
    results = translate_windows(job, LineReader(endless).windows(), processes)
    done = [next(results) for _ in range(5)]
    results.close()
    assert [result.lines for result in done] == [20] * 5
    assert endless.given <= 2 * module._CHUNK  # which holds hundreds of such windows; no more was read


def test_a_line_of_megabytes_is_not_kept_in_memory(trained):
    parts = [b"x" * 60_000] * 40
    windows = list(LineReader(io.BufferedReader(Dripping([b"a\n", *parts, b"\nb\n"]))).windows())
    kept = [line for window in windows for line in window.lines]
    assert [len(line) for line in kept] == [1, MAX_LINE_BYTES + 1, 1]
    report = Report()
    assert [request is None for window in windows for request in window.requests(report)] == [False, True, False]
    assert report.tallies == {"overlong": (1, 2)}


# ---- the fuzzed file ----


def fuzzed() -> list[bytes]:
    choose = random.Random(0)
    lines = [choose.randbytes(choose.randrange(60)).replace(b"\n", b"") for _ in range(60)]
    lines += [b"\x01\x02\r\x7f", "\u0085\u2028\u2029\v\f".encode(), b"one\rtwo", b"\xef\xbb\xbfone", b"\0"]
    lines += ["👩‍👩‍👧‍👦 🏳️‍🌈 one".encode(), "שלום עולם، مرحبا".encode(), ("a" + "\u0301" * 300).encode()]
    lines += [b" ".join([b"one two three. "] * 3400), b"x" * 900, "あ".encode() * 700, b"one ||| two\tthree"]
    return lines + [b""] * 100_000 + [b"nine"]


@pytest.mark.parametrize("form", ["text", "moses"])
def test_arbitrary_bytes_give_one_line_out_per_line_in(trained, tmp_path, capsys, form):
    lines = fuzzed()
    (tmp_path / "in").write_bytes(b"\n".join(lines))
    options = ["-b", "1", "--max-length-factor", "0.5", "--format", form]
    assert nmt("translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", *options) == 0
    written = (tmp_path / "out").read_bytes()
    assert written.endswith(b"\n")
    text = written.decode("utf-8")
    assert len(text.splitlines()) == len(lines)  # no other line end, for no program
    if form == "moses":
        assert {row.count(" ||| ") for row in text.splitlines()} == {3}
    words = capsys.readouterr().err
    invalid = [n for n, line in enumerate(lines, 1) if line.decode("utf-8", "replace").encode() != line]
    assert f"{len(invalid)} lines (first: line {invalid[0]}): not UTF-8" in words
    controls = [n for n, line in enumerate(lines, 1) if has_control(line.removesuffix(b"\r"))]
    assert f"{len(controls)} lines (first: line {controls[0]}): control characters, replaced by spaces" in words
    assert re.search(r"4 lines \(first: line 68\): more than 200 tokens; translated in parts", words)
    assert not (tmp_path / "out.progress").exists()


def has_control(line: bytes) -> bool:
    return any(c != "\t" and (c < " " or "\x7f" <= c <= "\x9f") for c in line.decode("utf-8", "replace"))


def test_refused_lines_are_empty_and_counted(trained, tmp_path, capsys):
    (tmp_path / "in").write_text("one\none two three four five six\ntwo\n")
    command = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out", "--max-source-tokens", "4"]
    assert nmt(*command, "--long-lines", "refuse") == 3
    assert "line 2: more than 4 tokens, not translated" in capsys.readouterr().err
    refused = (tmp_path / "out").read_text().split("\n")
    assert refused[1] == ""
    assert refused[0] and refused[2]
    assert nmt(*command, "--long-lines", "cut") == 0
    assert "line 2: more than 4 tokens; the rest was not translated" in capsys.readouterr().err
    assert nmt(*command, "--format", "jsonl") == 0
    records = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [record.get("long_line") for record in records] == [None, "split", None]


# ---- long lines ----

PIECES = st.lists(
    st.sampled_from(["▁a", "b", ".", "▁.", ",", "▁", "。", "あ", '"', "▁C", "<unk>", "▁Dr."]), max_size=60
)


@given(PIECES, st.integers(1, 20))
def test_parts_of_a_long_line_fit_and_lose_no_text(pieces, limit):
    points = cut_points(pieces, limit)
    sizes = [end - begin for begin, end in pairwise(points)]
    assert points[0] == 0 and points[-1] == len(pieces)
    assert all(0 < size <= limit for size in sizes) or not pieces


def parts(text: str, limit: int) -> list[str]:
    pieces = re.findall("▁?[^▁ ]", "▁" + text.replace(" ", "▁"))
    points = cut_points(pieces, limit)
    return ["".join(pieces[begin:end]).replace("▁", " ").strip() for begin, end in pairwise(points)]


def test_long_lines_are_split_at_sentences_clauses_or_words():
    assert parts('He saw it. "She did not." They left.', 20) == ["He saw it.", '"She did not."', "They left."]
    assert parts("Read vol. two of it all, then go home", 28) == ["Read vol. two of it all,", "then go home"]
    assert parts("one words and another word", 10) == ["one words", "and another", "word"]
    assert parts("これはとても大きな犬です。あれは猫です。", 14) == ["これはとても大きな犬です。", "あれは猫です。"]
    assert parts("abcdefgh", 3) == ["abc", "def", "gh"]


def test_translations_of_parts_are_joined_as_the_script_is_written():
    assert joint("Das ist es.", "Und das.") == " "
    assert joint("これは犬です。", "あれは猫です。") == ""
    assert joint("개입니다.", "고양이입니다.") == " "
    assert joint("", "a") == joint("a", "") == ""


def test_a_long_line_is_the_translations_of_its_parts(trained):
    sentence = "one two three four five six seven eight."
    split = Translator.load(trained, "cpu", beam_size=2, handling=LineHandling(max_source_tokens=30))
    (alone,) = split.translate([sentence], n_best=2)
    limit = len(split.tokenizers.source.encode([sentence])[0])
    split = Translator.load(trained, "cpu", beam_size=2, handling=LineHandling(max_source_tokens=limit))
    (line,) = split.translate([f"{sentence} One {sentence[4:]}"], n_best=2, attention=True)
    assert line.treatment == "split" and alone.treatment is None
    first, second = alone.candidates[0], split.translate([f"One {sentence[4:]}"])[0].candidates[0]
    assert line.text == f"{first.text} {second.text}".strip()
    assert line.candidates[0].score == pytest.approx(first.score + second.score, abs=1e-4)
    assert line.candidates[0].log_prob == pytest.approx(first.log_prob + second.log_prob, abs=1e-4)
    drawn = line.candidates[0].attention
    assert drawn is not None and drawn.weights.sum(axis=1) == pytest.approx(1, abs=1e-3)
    one, other = alone.candidates, split.translate([f"One {sentence[4:]}"], n_best=2)[0].candidates
    sums = sorted((a.score + b.score for a in one for b in other), reverse=True)
    assert [candidate.score for candidate in line.candidates] == pytest.approx(sums[:2], abs=1e-4)
    (aligned,) = split.translate([line.source], alignment=True)
    links = [split.translate([part], alignment=True)[0].candidates[0] for part in (sentence, f"One {sentence[4:]}")]
    moved = [
        (source + len(sentence.split()), target + len(links[0].text.split())) for source, target in links[1].alignment
    ]
    assert list(aligned.candidates[0].alignment) == [*links[0].alignment, *moved]
    cut = Translator.load(trained, "cpu", beam_size=2, handling=LineHandling("cut", limit))
    assert cut.translate([f"{sentence} {sentence}"])[0].text == first.text


# ---- formats ----


def test_every_format_writes_any_text_in_one_line():
    odd = Candidate("a\u2028b\tc ||| d\x85", -1.0, -2.0, alignment=((0, 0), (2, 1)))
    translation = Translation("s\u2029\x7f", (odd,))
    forms: list[Format] = ["text", "tsv", "jsonl", "moses"]
    for form in forms:
        assert len(render(translation, 1, form, alignment=form != "text").splitlines()) == 1
    assert render(translation, 7, "tsv", alignment=True) == "7\t-1.000000\t-2.000000\ta b c ||| d\t0-0 2-1\n"
    moses = "6 ||| a b\tc &#124;&#124;&#124; d ||| LogProb= -2.000000 ||| -1.000000 ||| 0-0 2-1\n"
    assert render(translation, 7, "moses", alignment=True) == moses
    record = json.loads(render(translation, 7, "jsonl", True, {"id": "x", "line": 0}))
    assert record["candidates"][0]["alignment"] == "0-0 2-1"
    assert record["source"] == translation.source
    assert record["id"] == "x" and record["line"] == 7
    nothing = Translation("", ())
    assert render(nothing, 1, "tsv", alignment=True) == "1\t\t\t\t\n"
    assert render(nothing, 1, "moses") == "0 |||  ||| LogProb= 0.000000 ||| 0.000000\n"


# ---- JSON lines ----


def test_json_lines_are_detected_and_keep_their_keys(trained, tmp_path, capsys):
    records = [{"source": "one two", "id": 7}, {"source": ""}, {"words": "no source"}, {"source": "a\nb\ud800"}, [1]]
    content = "\n".join(map(json.dumps, records)) + "\n{broken\n\n" + "[" * 5000 + "\n" + '{"source": "x", "y": NaN}'
    (tmp_path / "in").write_text(content)
    command = ["translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "out"]
    assert nmt(*command, "--format", "jsonl") == 3
    assert '5 lines (first: line 3): not a JSON object with text under "source"' in capsys.readouterr().err
    found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [record["line"] for record in found] == list(range(1, 10))
    assert found[0]["id"] == 7 and found[0]["translation"]
    assert [record["translation"] for record in found[1:3]] == ["", ""]
    assert found[3]["source"] == "a\nb\ufffd"
    assert nmt(*command, "--input-format", "text") == 0
    assert (tmp_path / "out").read_text().count("\n") == 9


def test_a_json_request_sets_options_of_its_line():
    request = parse_json('{"source": "one", "id": 3}')
    assert request is not None and request.source == "one" and request.extra == {"id": 3}
    for line in ("", "1", "{}", '{"source": 1}', '{"source": "x"', "null", '{"source": "x", "a": 1e999999, "b": NaN}'):
        assert parse_json(line) is None


# ---- interactive ----


def test_stream_writes_each_translation_before_the_next_line_arrives(trained):
    command = [sys.executable, "-m", "nmtcli", "translate", "-m", str(trained), "-b", "1", "--stream"]
    command += ["--attention", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin and process.stdout and process.stderr
    for line in (b"one two\n", b"\n", b"nine\n"):
        process.stdin.write(line)
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\n")  # the input is still open
    output, words = process.communicate()
    assert output == b"" and process.returncode == 0
    assert "░" in words.decode()


def test_json_lines_are_detected_after_blank_ones(trained):
    for leading in (b"\n", b"\n" * 1500, b"\xef\xbb\xbf\n \n"):
        windows = list(LineReader(dripping(leading + b'{"source": "one"}\n', 3), wait=False).windows())
        assert windows[-1].jsonl
        assert windows[-1].begins and not any(window.begins for window in windows[:-1])
        reader = LineReader(dripping(leading + b'{"source": "one"}\n', 3))
        reader.skip(windows[0].end, len(windows[0].lines))
        assert list(reader.windows())[-1].jsonl


@pytest.mark.parametrize("depth", [50, 700, 100_000])
def test_a_deeply_nested_json_line_is_malformed(depth):
    request = parse_json('{"source": "one", "x": ' + "[" * depth + "]" * depth + "}")
    assert (request is None) == (depth > DEEPEST)


def test_conflicting_translate_options_are_refused(trained, tmp_path, capsys):
    def words(*arguments):
        assert nmt("translate", "-m", trained, "-i", os.devnull, *arguments) == 2
        return capsys.readouterr().err

    assert "not possible with --format text" in words("--alignment", "-")
    assert "--stream cannot be combined with several --processes or --devices" in words("--stream", "--processes", "2")
    assert "give -o FILE" in words("--resume")
    assert "are mutually exclusive" in words("--resume", "--stream", "-o", tmp_path / "a")
    assert ".jsonl file" in words("--resume", "-o", tmp_path / "a", "--attention", tmp_path / "a.html")
    assert "given twice" in words("-o", tmp_path / "a", "--alignment", tmp_path / "a")
    assert "selects GPUs" in words("--devices", "0", "--device", "cpu")
    assert "not numbers of GPUs" in words("--devices", "cuda")
    (tmp_path / "in").write_text("one\n")
    assert nmt("translate", "-m", trained, "-i", tmp_path / "in", "-o", tmp_path / "in") == 2
    assert (tmp_path / "in").read_text() == "one\n"

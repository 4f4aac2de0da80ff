"""`nmt score` of several systems: significance as in sacreBLEU, analysis, the report, test sets, COMET."""

import gzip
import json
import math
import os
import random
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.cli import run
from nmtcli.metrics.scores import Variant, score_corpus
from nmtcli.score.analysis import analyse, has_words, length_edges
from nmtcli.score.report.page import Results, marked, page
from tests.conftest import ROOT, WORDS
from tests.score.test_score import HYPOTHESIS, REFERENCE, scored

OTHER = [line.replace("the", "a").replace(".", " now.") for line in HYPOTHESIS]
SOURCE = [f"Satz {number} {'sehr ' * number}lang" for number in range(6)]
HOSTILE = ["<script>alert(1)</script>", "a & b \"quoted\" 'too'", "\u202eback\u0007\x1b", "", "{{ 7 * 7 }}", "x" * 3000]


@pytest.fixture
def files(write_texts):
    """Write texts by name into the working directory, where hyp and ref are."""
    write_texts(hyp=HYPOTHESIS, ref=REFERENCE)
    return write_texts


# ---- significance ----


@pytest.mark.parametrize(
    ("method", "option", "systems", "metrics"),
    [
        ("bootstrap", "--paired-bs", ["hyp", "other", "copy"], ["bleu", "chrf", "ter"]),
        ("randomization", "--paired-ar", ["hyp", "other"], ["bleu", "chrf", "ter"]),
    ],
)
def test_paired_tests_are_those_of_the_sacrebleu_command(files, capsys, method, option, systems, metrics):
    files(other=OTHER, copy=REFERENCE, second=[line.upper() for line in REFERENCE])
    arguments = ["ref", "second", "-i", *systems, "-m", *metrics, option, "--format", "latex", "--width", "12"]
    command = [sys.executable, "-m", "sacrebleu", *arguments]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    theirs = [
        line.rstrip(" \\").split(" & ")[1:] for line in printed.split("midrule")[1].splitlines()[1:-1] if "&" in line
    ]
    options = ["-r", "ref", "-r", "second", "--metric", ",".join(metrics), "--paired", method]
    ours = scored(capsys, *systems, *options)["paired"]
    assert ours["method"] == method
    assert len(theirs) == len(systems)
    for row, cells in zip(ours["systems"], theirs, strict=True):
        for found, cell in zip(row.values(), cells, strict=True):
            score, mean, ci, p_value = (found[key] for key in ("score", "mean", "ci", "p_value"))
            words = f"{score:.12f}"
            words += "" if mean is None else f" ({mean:.12f} ± {ci:.12f})"
            words += "" if p_value is None else f" (p = {p_value:.4f})"
            assert cell.strip().removesuffix("*") == words
    for signature in ours["signatures"].values():
        assert signature in printed


def test_the_table_shows_p_beside_the_interval(files, capsys):
    files(other=OTHER)
    assert run(["score", "hyp", "other", "-r", "ref", "--paired", "randomization"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"p \d\.\d{4}", out)) == 3
    assert "ar:10000" in out
    assert "paired approximate randomisation" in out


@pytest.mark.parametrize("seed", ["many", "-1", "1.5", ""])
@pytest.mark.parametrize("option", [[], ["--paired", "bootstrap"]])
def test_an_invalid_sacrebleu_seed_is_a_user_error(files, capsys, monkeypatch, seed, option):
    monkeypatch.setenv("SACREBLEU_SEED", seed)
    assert run(["score", "hyp", "hyp", "-r", "ref", *option]) == 2
    assert f"SACREBLEU_SEED is {seed!r}" in capsys.readouterr().err


def test_a_seed_changes_the_interval(files, capsys, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    (system,) = scored(capsys, "hyp", "-r", "ref", "--metric", "chrf")["systems"]
    assert "seed:7" in system["scores"][0]["signature"]


# ---- analysis ----


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=300))
def test_buckets_of_lengths_hold_every_sentence_once(lengths):
    source = [" ".join("w" * length) for length in lengths]
    found = analyse([source], [source], source)
    assert [one.title for one in found.breakdowns] == ["source length", "reference length"]
    for breakdown in found.breakdowns:
        assert sum(bucket.size for bucket in breakdown.buckets) == len(lengths)
        assert all(bucket.size for bucket in breakdown.buckets)
        assert breakdown.unit == "words"
    assert len(length_edges(lengths)) <= 5


def test_the_score_of_a_bucket_is_that_of_its_sentences():
    system, reference, source = HYPOTHESIS * 10, REFERENCE * 10, SOURCE * 10
    by_source = analyse([system, reference], [reference], source).breakdowns[0]
    assert [bucket.label for bucket in by_source.buckets] == ["3–4", "5–6", "7–8"]
    rows = [row for row, line in enumerate(source) if len(line.split()) <= 4]
    expected = score_corpus([system[row] for row in rows], [[reference[row] for row in rows]])
    assert by_source.buckets[0].scores == {one.name: [one.value, pytest.approx(100)] for one in expected}


def test_scores_by_word_frequency():
    reference = ["the goat sleeps", "the yak sleeps", "the gnu sleeps"]
    system = ["the goat sleeps", "the yak sleeps", "the cow sleeps"]
    training = ["the the the sleeps"] * 40 + ["goat"] * 7 + ["yak yak"]
    sentences, words = analyse([system, reference], [reference], None, training).breakdowns[1:]
    assert [(bucket.label, bucket.size) for bucket in sentences.buckets] == [("0", 1), ("1–4", 1), ("5–19", 1)]
    assert {bucket.label: (bucket.size, bucket.scores["word F1"]) for bucket in words.buckets} == {
        "0": (1, [0.0, 100.0]),  # gnu
        "1–4": (1, [100.0, 100.0]),  # yak
        "5–19": (1, [100.0, 100.0]),  # goat
        "20–99": (3, [100.0, 100.0]),  # sleeps
        "100–999": (3, [100.0, 100.0]),  # the
    }


def test_word_f1_counts_extra_and_missing_words():
    words = analyse([["b b c"]], [["b c c"]], None, [])
    (bucket,) = words.breakdowns[-1].buckets
    assert bucket.scores["word F1"] == [pytest.approx(100 * 2 * 2 / 6)]


def test_the_worst_and_the_most_different_sentences_come_first():
    wrong = ["nothing of it", *REFERENCE[1:]]
    found = analyse([REFERENCE, wrong], [REFERENCE], SOURCE)
    assert [one.line for one in found.different] == [1]
    assert found.worst[0].line == 1
    assert found.worst[0].source == SOURCE[0]
    assert found.worst[0].hypotheses == [REFERENCE[0], "nothing of it"]
    assert found.worst[0].scores[0] == pytest.approx(100)
    assert analyse([REFERENCE], [REFERENCE]).different == []


def test_text_without_spaces_is_measured_in_characters():
    assert not has_words(["客人来之前，水壶就响了。客人来之前，水壶就响了。"] * 3)
    assert analyse([["客人来了" * 9]], [["客人来了" * 9]]).breakdowns[0].unit == "characters"


def test_details_in_the_terminal_and_as_json(files, capsys):
    files(other=OTHER, src=SOURCE, train=REFERENCE * 2)
    options = ["-r", "ref", "--source", "src", "--train-target", "train", "--details"]
    assert run(["score", "hyp", "other", *options]) == 0
    out = capsys.readouterr().out
    for words in ("1 hyp   2 other", "By source length", "By rarest word", "By word frequency", "BLEU 2", "line 1"):
        assert words in out, words
    details = scored(capsys, "hyp", "other", *options)["details"]
    assert [one["title"] for one in details["breakdowns"]][-1] == "word frequency"
    assert details["worst"][0]["hypotheses"]


# ---- the report ----


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def results(systems: list[list[str]], reference: list[str], names: list[str] | None = None) -> Results:
    scores = [score_corpus(system, [reference], ["bleu", "chrf", "ter"], bootstrap=10) for system in systems]
    analysis = analyse(systems, [reference], reference, [*reference, *systems[0]])
    return Results(names or [f"s{n}" for n in range(len(systems))], ["ref"], len(reference), scores, analysis)


@pytest.mark.parametrize("reference", [REFERENCE, HOSTILE])
def test_the_page_escapes_whatever_the_text_holds_and_fetches_nothing(reference):
    html = page(results([HOSTILE, HYPOTHESIS], reference, ["<b>name", "two"]))
    reader = Reader()
    reader.feed(html)
    names = {name for _, attrs in reader.tags for name in attrs}
    assert not names & {"src", "href", "srcset", "data", "action", "background", "xlink:href"}
    assert not {"script", "link", "iframe", "object", "base", "form", "img"} & {tag for tag, _ in reader.tags}
    assert "default-src 'none'" in html
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202a-\u202e]", html)
    for words in ("<script>alert(1)</script>", "U+202E", "{{ 7 * 7 }}", "<b>name"):
        assert words in reader.text, words
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert not re.search(r"@import|url\(|https?:", style)


def test_the_report_shows_everything_and_is_the_same_each_time(files, capsys):
    files(other=OTHER, src=SOURCE, train=REFERENCE)
    options = ["-r", "ref", "--source", "src", "--train-target", "train", "--paired", "bootstrap"]
    pages = []
    for name in ("a.html", "b.html"):
        assert run(["score", "hyp", "other", *options, "--report", name]) == 0
        pages.append(Path(name).read_bytes())
    assert pages[0] == pages[1]
    html = pages[0].decode()
    for words in (
        "2 systems compared",
        "p = ",
        "By source length",
        "By word frequency",
        "differ most",
        "worst",
        "bs:1000",
    ):
        assert words in html, words
    assert html.count("<figure>") == 3 + 3 * 2 + 1 + 1
    assert "report: b.html" in capsys.readouterr().err


def test_a_significant_difference_has_the_colour_of_its_direction(files, capsys):
    lines = [f"the {word} cat sat on mat number {number}" for number, word in enumerate(["red", "old", "big"] * 8)]
    bad = [" ".join(line.split()[::-2]) for line in lines]
    some = [line.replace("cat", "dog") for line in lines]
    files(ref=lines, base=some, worse=bad, good=lines)
    options = ["-r", "ref", "--paired", "bootstrap", "--report", "page.html"]
    assert run(["score", "base", "worse", "good", *options]) == 0
    found = re.findall(r'<small class="(\w+)">p = [\d.]+, (\w+)<', Path("page.html").read_text())
    assert found == [("worse", "worse")] * 3 + [("better", "better")] * 3  # BLEU, chrF, and TER, which is lower then


def test_names_of_systems_stand_below_their_intervals():
    html = page(results([HYPOTHESIS, OTHER], REFERENCE, ["short", f"{'x' * 60}\u202eend"]))
    below = re.findall(r"<g class=\"across\">(.*?)</g>", html, re.DOTALL)[0]
    first, second = re.findall(r"<text[^>]*>(.*?)</text>", below)
    assert first == "short"
    assert second.startswith("…x")
    assert second.endswith("U+202Eend")
    assert "\u202e" not in html.split("</head>")[1]


def test_report_page_of_one_system_without_any_match():
    html = page(results([[""]], ["one"]))
    assert "Scores of" in html
    assert "differ most" not in html


@settings(max_examples=40)
@given(st.text(max_size=30), st.text(max_size=30))
def test_marking_differences_keeps_the_text(text, reference):
    pieces = list(marked(text, reference))
    assert "".join(piece for _, piece in pieces).rstrip(" ") == text.rstrip(" ")
    assert not any(differs for differs, _ in marked(text, text))


# ---- official test sets ----


@pytest.fixture
def cache(files, tmp_path):
    """A cache of sacreBLEU that holds a test set as it would be after the download; and no way to the network."""
    folder = tmp_path / "cache" / "wmt14"
    folder.mkdir(parents=True)
    for field, lines in (("src", SOURCE), ("ref", REFERENCE), *((name, [name] * 6) for name in META)):
        for pair in ("de-en", "en-de"):
            (folder / f"wmt14.{pair}.{field}").write_text("".join(f"{line}\n" for line in lines))
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return {
        **os.environ,
        **nowhere,
        "SACREBLEU": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
    }


META = ("docid", "genre", "origlang")


def in_cache(cache: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], env=cache, capture_output=True, text=True, check=False)


def test_an_official_test_set_gives_the_scores_of_sacrebleu(cache):
    theirs = in_cache(cache, "sacrebleu", "-t", "wmt14", "-l", "de-en", "-i", "hyp", "-m", "bleu", "-ci", "-w", "9")
    done = in_cache(cache, "nmtcli", "score", "hyp", "--test-set", "wmt14", "-l", "de-en", "--json", "--details")
    assert done.returncode == 0, done.stderr
    document, other = json.loads(done.stdout), json.loads(theirs.stdout)
    bleu = document["systems"][0]["scores"][0]
    assert (round(bleu["value"], 9), bleu["signature"]) == (other["score"], other["signature"])
    assert document["details"]["breakdowns"][0]["title"] == "source length"
    assert document["references"] == ["wmt14 (wmt14.de-en.ref)"]


def test_a_test_set_that_cannot_be_downloaded_is_reported(cache):
    done = in_cache(cache, "nmtcli", "score", "hyp", "--test-set", "wmt13", "-l", "de-en")
    assert done.returncode == 3
    assert "sacreBLEU cannot download the test set wmt13 de-en" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--test-set", "wmt144", "-l", "en-de"], "did you mean wmt14?"),
        (["--test-set", "wmt14", "-l", "en-ko"], "has no en-ko"),
        (["--test-set", "wmt14"], "needs a language pair"),
        (["--test-set", "wmt14", "-l", "en-de", "-r", "ref"], "either -r FILE or --test-set"),
        ([], "either -r FILE or --test-set"),
        (["-r", "ref", "-l", "german"], "not a language pair"),
        (["-r", "ref", "--paired", "bootstrap"], "--paired needs two systems or more"),
        (["-r", "ref", "--train-target", "hyp"], "--details or --report"),
        (["-r", "ref", "--report", "no/where.html"], "mkdir -p no"),
        (["-r", "ref", "--target", "ref"], "use it when scoring pairs by --model"),
        (["-r", "ref", "--metric", "bleu,comet", "--source", "ref"], "pip install 'nmtcli[comet]'"),
        (["-r", "ref", "--comet-model", "x"], "--comet-model needs --metric comet"),
        (["-r", "ref", "--metric", "chrf", "--tokenize", "char"], "--tokenize char is of no use"),
        (["-r", "ref", "--metric", "ter", "--lowercase"], "--lowercase is of no use"),
        (["-r", "ref", "--report", "-"], "--report writes a file"),
        (["-r", "-", "--details", "--train-target", "-"], "standard input can be read only once"),
        (["-r", "ref", "--at-least", ""], "cannot read ''"),
        (["-r", "ref", "--at-least", "bleu=1,BLEU=2"], "has bleu twice"),
    ],
)
def test_user_errors_have_a_message(files, capsys, options, words):
    assert run(["score", "hyp", *options]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_the_language_pair_chooses_the_tokenizer(files, capsys):
    files(zh=["客人来之前，水壶就响了。"] * 6)
    document = scored(capsys, "zh", "-r", "zh", "-l", "en-zh", "--metric", "bleu")
    assert "tok:zh" in document["systems"][0]["scores"][0]["signature"]
    assert document["warnings"] == []


# ---- COMET ----

PACKAGE = """
from types import SimpleNamespace

def download_model(name):
    if name != "Unbabel/wmt22-comet-da":
        raise KeyError(f"Model '{name}' not supported by COMET.")
    return "somewhere"

class Model:
    def predict(self, samples, batch_size, gpus, progress_bar):
        assert all(sample["src"].startswith("Satz") for sample in samples)
        return SimpleNamespace(scores=[len(set(s["mt"]) & set(s["ref"])) / len(s["ref"]) for s in samples])

def load_from_checkpoint(path):
    return Model()
"""


@pytest.fixture
def comet(files, tmp_path, monkeypatch):
    """A package with the interface of unbabel-comet and a metric of one line."""
    (tmp_path / "site" / "unbabel_comet-2.2.0.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "unbabel_comet-2.2.0.dist-info" / "METADATA").write_text(
        "Name: unbabel-comet\nVersion: 2.2.0\n"
    )
    (tmp_path / "site" / "comet.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    sys.modules.pop("comet", None)


def test_comet_has_intervals_and_paired_tests_like_any_metric(comet, files, capsys):
    files(src=SOURCE, other=OTHER)
    options = ["-r", "ref", "--source", "src", "--metric", "comet", "--paired", "bootstrap", "--device", "cpu"]
    document = scored(capsys, "hyp", "other", *options)
    (score,) = document["systems"][0]["scores"]
    pairs = zip(HYPOTHESIS, REFERENCE, strict=True)
    assert score["value"] == pytest.approx(sum(len(set(one) & set(other)) / len(other) for one, other in pairs) / 6)
    assert score["low"] < score["value"] < score["high"]
    assert "model:Unbabel/wmt22-comet-da|version:unbabel-comet-2.2.0" in score["signature"]
    assert 0 < document["paired"]["systems"][1]["COMET"]["p_value"] <= 1
    assert run(["score", "hyp", *options[:4], "--metric", "comet", "--at-least", "comet=0.99"]) == 5
    assert f"{score['value']:.4f}" in capsys.readouterr().out
    assert run(["score", "hyp", "-r", "ref", "--metric", "comet"]) == 2
    assert "--source FILE" in capsys.readouterr().err
    assert run(["score", "hyp", *options[:4], "--metric", "comet", "--comet-model", "mine"]) == 2
    assert "cannot load the COMET model mine" in capsys.readouterr().err


def test_lowercase_reaches_the_analysis():
    plain, lower = (analyse([HYPOTHESIS], [REFERENCE], variant=Variant(lowercase=flag)) for flag in (False, True))
    assert math.fsum(lower.sentence_scores[0]) > math.fsum(plain.sentence_scores[0])


def test_the_seed_zero_is_refused_for_significance_tests(files, capsys, monkeypatch):
    files(other=REFERENCE)
    monkeypatch.setenv("SACREBLEU_SEED", "0")
    assert run(["score", "hyp", "other", "-r", "ref", "--paired", "bootstrap"]) == 2
    assert "SACREBLEU_SEED is 0" in capsys.readouterr().err


def test_a_file_name_that_is_not_utf8_is_shown_in_the_report(files):
    name = os.fsdecode(b"s\xe9")
    Path(name).write_bytes(Path("hyp").read_bytes())
    command = [sys.executable, "-m", "nmtcli", "score", name, "-r", "ref", "--report", "page.html"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert "U+DCE9" in Path("page.html").read_text("utf-8")


def test_approximate_randomisation_of_chrf_is_sacrebleu_s_on_text_where_it_is_not_certain(files, capsys):
    """With scores in whole numbers, as they were once, its p-value here is another."""
    choose = random.Random(1)
    reference = [" ".join(choose.choices(WORDS, k=choose.randint(4, 9))) for _ in range(60)]
    systems = {
        name: [" ".join(word for word in line.split() if choose.random() > share) or "x" for line in reference]
        for name, share in (("one", 0.1), ("two", 0.13))
    }
    files(ref=reference, **systems)
    command = [sys.executable, "-m", "sacrebleu", "ref", "-i", "one", "two", "-m", "chrf", "--paired-ar"]
    printed = subprocess.run([*command, "--format", "json"], capture_output=True, check=True, text=True).stdout
    theirs = json.loads(printed)[1]["chrF2"]["p_value"]
    assert 0.001 < theirs < 0.999
    found = scored(capsys, "one", "two", "-r", "ref", "--metric", "chrf", "--paired", "randomization")
    assert found["paired"]["systems"][1]["chrF2"]["p_value"] == pytest.approx(theirs)


def test_tables_in_a_pipe_have_all_numbers(files, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    names = [f"a-system-with-a-name-{number}" for number in range(5)]
    files(**dict.fromkeys(names, HYPOTHESIS))
    assert run(["score", *names, "-r", "ref", "--details", "--paired", "bootstrap"]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert all(f"\n{name} " in shown for name in names)
    assert run(["score", *names, "-r", "ref", "--json"]) == 0
    for score in json.loads(capsys.readouterr().out)["systems"][0]["scores"]:
        assert f" {score['value']:.1f} " in shown
        assert f"{score['low']:.1f}–{score['high']:.1f}" in shown


def test_a_training_text_that_cannot_be_read_is_refused_before_and_damaged_costs_no_scores(files, capsys, tmp_path):
    options = ["score", "hyp", "-r", "ref", "--metric", "bleu", "--details", "--train-target"]
    for name, content, words in (
        ("absent", None, "no such file"),
        ("wide", "a text\n".encode("utf-16"), "is UTF-16 text"),
        ("zip", b"PK\x03\x04rest", "is a zip archive"),
    ):
        if content is not None:
            Path(name).write_bytes(content)
        assert run([*options, name]) == 3
        shown = capsys.readouterr()
        assert words in shown.err and not shown.out
    whole = gzip.compress("".join(f"{number} words\n" for number in range(100_000)).encode())
    Path("cut.gz").write_bytes(whole[: len(whole) // 2])
    assert run([*options, "cut.gz"]) == 3
    shown = capsys.readouterr()
    assert "cut.gz: damaged or cut short" in shown.err
    assert "BLEU" in shown.out

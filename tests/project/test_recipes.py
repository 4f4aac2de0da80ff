"""Recipes: complete files, settings that load, scores that can be checked, correct scripts."""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from itertools import pairwise

import pytest

from nmtcli.metrics.scores import score_corpus
from nmtcli.settings import load_config
from tests.conftest import ROOT

RECIPES = ROOT / "recipes"
FOLDERS = {path.parent.name for path in RECIPES.glob("*/Makefile")}
OWN_CHECK = {"attended-step", "gradient-path"}  # a script checks something else than a translation
NAMES = sorted(FOLDERS - OWN_CHECK)
OWN_MAKEFILE = {"attention-ladder", "exposure-bias"}  # many models, each a row
each_recipe = pytest.mark.parametrize("recipe", NAMES)


def script(name):
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dry(recipe, work, *arguments):
    """What `make` would run, without $NMT_DATA; no text is touched."""
    environment = {name: value for name, value in os.environ.items() if name != "NMT_DATA"}
    command = ["make", "-n", "--no-print-directory", "NMT=nmt", f"WORK={work}", *arguments]
    done = subprocess.run(command, cwd=RECIPES / recipe, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.replace("\\\n", " ")


def rows(recipe):
    """Rows of expected.json as variables for make."""
    for row in json.loads((RECIPES / recipe / "expected.json").read_text("utf-8")):
        words = row.split()
        kinds = ("VARIANT" if (RECIPES / recipe / f"{word}.yaml").exists() else "SEARCH" for word in words)
        yield row, [f"{kind}={word}" for kind, word in zip(kinds, words, strict=True)]


@each_recipe
def test_make_dry_run_of_a_recipe_prints_its_commands(recipe, tmp_path):
    output = dry(recipe, tmp_path / "work", "check")
    for verb in ("prepare", "train", "translate"):
        assert f"nmt {verb}" in output
    assert "check.py expected.json" in output


@pytest.mark.parametrize("recipe", sorted(FOLDERS))
def test_a_recipe_has_its_files_and_is_listed(recipe):
    folder = RECIPES / recipe
    assert (folder / "expected.json").exists()
    assert f"recipes/{recipe}" in (folder / "README.md").read_text("utf-8")
    assert f"(../recipes/{recipe}/README.md)" in (ROOT / "docs" / "recipes.md").read_text("utf-8")


@each_recipe
def test_expected_scores_are_well_formed(recipe):
    table = json.loads((RECIPES / recipe / "expected.json").read_text("utf-8"))
    assert table
    measure = script("check").measure
    for figures in table.values():
        assert figures or "not measured yet" in (RECIPES / recipe / "README.md").read_text("utf-8")
        for figure in figures:
            assert figure.keys() - {"lowercase", "tokenize"} == {"metric", "score", "tolerance", "signature", "source"}
            assert 0 < figure["tolerance"] < 5 < figure["score"] <= 100 or figure["score"] <= 5
            assert measure(figure, ["A b c."], ["A b d."])[1] == figure["signature"]


@pytest.mark.parametrize("recipe", sorted(set(NAMES) - OWN_MAKEFILE))
def test_every_row_of_expected_scores_is_a_model_that_loads(recipe, tmp_path):
    load_config(files=[RECIPES / recipe / "recipe.yaml"])  # alone, as nmt prepare does
    known = set()
    for row, variables in rows(recipe):
        output = dry(recipe, tmp_path / "work", "check", f"TEACHER={tmp_path}", *variables)
        assert f'--row "{row}"' in output
        training = [shlex.split(line) for line in output.splitlines() if line.startswith("nmt train ")]
        for words in training:
            given = {flag: [b for a, b in pairwise(words) if a == flag] for flag in ("-c", "--set")}
            preset = words[words.index("--preset") + 1] if "--preset" in words else None
            files = [RECIPES / recipe / name for name in given["-c"]]
            known |= set(files)
            load_config(preset=preset, files=files, overrides=given["--set"])
        assert training
    if recipe == "addition":  # its other models are not translated by common.mk
        known |= {RECIPES / recipe / name for name in ("plain.yaml", "context.yaml")}
    if recipe == "kyoto-ja-en":  # trained by recipes/distill
        known |= {RECIPES / recipe / "student.yaml"}
    assert known == set((RECIPES / recipe).glob("*.yaml")), "a settings file without a row, or a row without its file"


def test_seeds_variants_and_trials_have_separate_results(tmp_path):
    work = tmp_path / "work"
    first = dry("multi30k", work, "check", "VARIANT=transformer")
    other = dry("multi30k", work, "check", "VARIANT=transformer", "SEED=2")
    assert "run-transformer " in first
    assert "run-transformer-seed2 " in other
    assert "--set train.seed=2" in other
    trial = dry("multi30k", work, "score", "SAMPLE=1", "SAMPLE_UPDATES=3")
    assert "NR % 100 < 1" in trial
    assert "--set train.max_updates=3" in trial
    trial = dry("multi30k", work, "check", "SAMPLE=1")
    assert "not compared with expected.json" in trial
    assert "check.py" not in trial


def test_a_trial_is_short_whatever_else_is_given(tmp_path):
    """Options given to make would win over those of the trial."""
    trial = dry("multi30k", tmp_path, "SAMPLE=1", "SAMPLE_UPDATES=3", "TRAIN_OPTIONS=--device cpu")
    assert "--device cpu --set train.max_updates=3" in trial
    trial = dry("addition", tmp_path, "SAMPLE=1", "SAMPLE_UPDATES=3", "TRAIN_OPTIONS=--device cpu")
    assert trial.count("--device cpu --set train.max_updates=3") == 3  # of each of its models


@pytest.mark.parametrize("recipe", ["addition", "distill", "multi30k", "phrasebook"])
def test_trials_have_a_folder_of_their_own(recipe):
    environment = {name: value for name, value in os.environ.items() if name != "NMT_DATA"}
    command = ["make", "-n", "-B", "-s", "SAMPLE=1", "NMT=nmt", "prepare"]
    done = subprocess.run(command, cwd=RECIPES / recipe, check=False, capture_output=True, text=True, env=environment)
    assert "nmt prepare -o work/sample/data" in done.stdout


def test_the_teacher_of_distilling_is_the_same_for_every_seed():
    teacher = "../phrasebook/work/run"
    command = ["make", "-n", "-B", "-s", "SEED=2", "SAMPLE=1", "TRAIN_OPTIONS=--device cpu", "NMT=nmt", teacher]
    done = subprocess.run(command, cwd=RECIPES / "distill", check=True, capture_output=True, text=True)
    (train,) = [line for line in done.stdout.splitlines() if line.startswith("nmt train")]
    assert train.split() == [
        "nmt",
        "train",
        "work/data",
        "-o",
        "work/run",
        "-c",
        "recipe.yaml",
        "--set",
        "train.seed=1",
    ]


def test_alignment_of_the_phrasebook_is_measured_for_each_seed(tmp_path):
    made = dry("phrasebook", tmp_path, "alignment", "SEED=2")
    assert f"--finetune-from {tmp_path}/run-seed2" in made and f"{tmp_path}/guided-seed2/run" in made
    trial = dry("phrasebook", tmp_path, "alignment", "SAMPLE=1")
    assert f"gold.py {tmp_path}/lines" in trial and f"--train-alignment {tmp_path}/lines/train.links" in trial


def test_variations_of_a_recipe_are_apart_in_results():
    def label(**options):
        words = [f"{name}={value}" for name, value in options.items()]
        command = ["make", "-n", "-s", "check", "NMT=nmt", *words]
        done = subprocess.run(command, cwd=RECIPES / "multi30k", check=True, capture_output=True, text=True)
        return re.search(r'--label "(.*?)"', done.stdout)[1]

    assert [label(), label(WORK="work/plain"), label(SEED=2)] == ["", "plain", ""]


def test_the_student_of_kyoto_is_distilled_from_its_run_with_its_own_settings(tmp_path):
    (tmp_path / "run-rnn").mkdir()
    output = dry("kyoto-ja-en", tmp_path, "student", "VARIANT=rnn")
    teacher, student = tmp_path / "run-rnn", tmp_path / "student"
    assert f"nmt translate -m {teacher} -i {student}/distilled/train.ja" in output
    assert f"--tokenizer {teacher} --source-language ja --target-language en" in output
    assert "human" not in output  # the comparison of recipes/distill would take as long again
    [_, train] = [shlex.split(line) for line in output.splitlines() if line.startswith("nmt train ")]
    assert train[2] == f"{student}/data"
    files = [RECIPES / "distill" / b for a, b in pairwise(train) if a == "-c"]
    config = load_config(files=files)
    assert files[-1].name == "student.yaml"
    assert (config.train.max_updates, config.train.threads, config.search.beam_size) == ("auto", None, 1)


def test_distilling_writes_nothing_beside_the_human_text(tmp_path):
    human = tmp_path / "human"
    human.mkdir()
    for name in ("train.de", "valid.en", "valid.de", "test.en", "test.de", "train.en"):
        (human / name).write_text("a\n")
    os.utime(human / "train.de", (0, 0))  # older than its source
    output = dry("distill", tmp_path / "work", "table", "TARGET=de", f"HUMAN={human}", f"TEACHER={tmp_path}")
    assert f"--train-target {human}/train.de" in output
    written = re.findall(r"(?:-o|mv \S+|>) (\S+)", output)
    assert any(path.endswith("distilled/train.de.part") for path in written)
    assert not [path for path in written if path.startswith(f"{human}/")]


def test_a_recipe_trial_runs_on_other_text(tmp_path):
    """The whole way on a few lines: prepare, train, translate; a sample is scored, but not compared with a recipe."""
    text = tmp_path / "text"
    text.mkdir()
    for split, lines in (("train", 400), ("valid", 8), ("test", 6)):
        for side in ("en", "de"):
            body = "".join(f"{'a b c d'[: 1 + n % 7]} {side} {n % 13}.\n" for n in range(lines))
            if split == "train":
                (text / f"{split}.{side}.gz").write_bytes(gzip.compress(body.encode()))
            else:
                (text / f"{split}.{side}").write_text(body)
    nmt = f"{sys.executable} -m nmtcli"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = ["make", "check", f"WORK={tmp_path}/work", f"TEXT={text}", f"NMT={nmt}", f"PYTHON={sys.executable}"]
    command += ["SAMPLE=50", "SAMPLE_UPDATES=2", "VARIANT=transformer"]
    done = subprocess.run(
        command, cwd=RECIPES / "multi30k", capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "not compared with expected.json" in done.stdout
    assert "too low" not in done.stdout
    work = tmp_path / "work"
    check = [sys.executable, RECIPES / "check.py", "expected.json", work / "test-transformer.de"]
    check += [work / "lines" / "test.de", "--run", work / "run-transformer", "--row", "transformer"]
    done = subprocess.run(
        [*check, "-o", work / "result.json"],
        cwd=RECIPES / "multi30k",
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 5
    assert "too low" in done.stdout
    result = json.loads((work / "result.json").read_text())
    assert result["training"]["updates"] == 2
    assert result["training"]["seed"] == 1
    assert len((work / "test-transformer.de").read_text().splitlines()) == 6


FIGURE = {"metric": "bleu", "signature": "BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp", "source": "made up"}


class TestCheck:
    @pytest.fixture
    def check(self, tmp_path, monkeypatch, capsys):
        """Runs check.py on two lines with these rows expected: exit status, or its last words, and what it printed."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "ref").write_text("A dog runs in a park.\nTwo men sit.\n")

        def run(rows, *arguments, hypotheses="A dog runs in the park.\nTwo men sit.\n"):
            (tmp_path / "hyp").write_text(hypotheses)
            (tmp_path / "expected.json").write_text(json.dumps(rows))
            monkeypatch.setattr(sys, "argv", ["check.py", "expected.json", "hyp", "ref", *arguments])
            try:
                status = script("check").main()
            except SystemExit as error:
                status = error.code
            return status, capsys.readouterr().out

        return run

    def test_passes_only_within_the_tolerance(self, check, tmp_path):
        hypotheses, references = ["A dog runs in the park.", "Two men sit."], ["A dog runs in a park.", "Two men sit."]
        true = score_corpus(hypotheses, [references], ["bleu"])[0].value
        for more, status in ((0.9, 0), (1.1, 5)):
            figure = FIGURE | {"score": true + more, "tolerance": 1.0}
            assert check({"": [figure]}, "-o", "result.json")[0] == status
            result = json.loads((tmp_path / "result.json").read_text())
            assert result["figures"][0]["passed"] == (status == 0)
            assert result["figures"][0]["signature"] == FIGURE["signature"]

    def test_another_signature_fails_the_check(self, check):
        status, printed = check({"": [FIGURE | {"score": 1.0, "tolerance": 1.0, "lowercase": True}]})
        assert status == 5
        assert "another signature" in printed

    def test_compounds_are_split_on_both_sides(self):
        figure = {"metric": "bleu", "tokenize": "compounds"}
        same, signature = script("check").measure(figure, ["Das gut-gemeinte Wort."], ["Das gut-gemeinte Wort."])
        assert same == pytest.approx(100)
        assert "tok:none" in signature
        assert script("check").parted(["Das gut-gemeinte Wort - ja."]) == ["Das gut ##AT##-##AT## gemeinte Wort - ja ."]

    def test_incomparable_texts_and_rows_are_refused(self, check):
        assert "has 1 lines" in check({"": []}, hypotheses="one\n")[0]
        assert "has no row 'no'" in check({"": []}, "--row", "no")[0]
        assert "has no score of the row '' yet" in check({"": []})[0]


class TestFetch:
    def fetch(self, folder, name="train.en"):
        command = [sys.executable, str(RECIPES / "fetch.py"), "sources.txt", f"work/{name}"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    def test_a_file_with_another_checksum_is_not_kept(self, tmp_path):
        text = tmp_path / "home.txt"
        text.write_text("a line\n")
        (tmp_path / "sources.txt").write_text(f"{'0' * 64} train.en {text.as_uri()}\n")
        failed = self.fetch(tmp_path)
        assert failed.returncode == 1
        assert "its sha256 is" in failed.stderr
        assert not (tmp_path / "work" / "train.en").exists()
        found = re.search(r"sha256 is ([0-9a-f]{64})", failed.stderr)
        assert found
        (tmp_path / "sources.txt").write_text(f"{found[1]} train.en {text.as_uri()}\n")
        assert self.fetch(tmp_path).returncode == 0
        assert (tmp_path / "work" / "train.en").read_text() == "a line\n"

    def test_an_unknown_checksum_is_recorded_and_then_checked(self, tmp_path):
        text = tmp_path / "home.gz"
        text.write_bytes(gzip.compress(b"a line\n"))
        sources = tmp_path / "sources.txt"
        sources.write_text(f"unknown train.en {text.as_uri()}\nunknown train.de {text.as_uri()}\n")
        assert self.fetch(tmp_path).returncode == 0
        first, second = sources.read_text().splitlines()
        assert first == f"{hashlib.sha256(b'a line' + bytes([10])).hexdigest()} train.en {text.as_uri()}"
        assert second.startswith("unknown")
        text.write_bytes(gzip.compress(b"another\n"))
        assert self.fetch(tmp_path).returncode == 1

    def test_parts_of_an_archive_are_joined_in_order(self, tmp_path):
        home = tmp_path / "corpus.tgz"
        with tarfile.open(home, "w:gz") as tar:
            for name, content in (("a/one.en", b"1\n"), ("a/two.en.gz", gzip.compress(b"2\n"))):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        lines = [f"unknown train.en {home.as_uri()}#{name}" for name in ("a/one.en", "a/two.en.gz")]
        (tmp_path / "sources.txt").write_text("\n".join(lines) + "\n")
        assert self.fetch(tmp_path).returncode == 0
        assert (tmp_path / "work" / "train.en").read_text() == "1\n2\n"
        assert "unknown" not in (tmp_path / "sources.txt").read_text()
        (tmp_path / "sources.txt").write_text(f"unknown train.en {home.as_uri()}#a/three.en\n")
        assert "cannot fetch" in self.fetch(tmp_path).stderr

    def test_a_file_without_a_source_is_reported(self, tmp_path):
        (tmp_path / "sources.txt").write_text(f"{'0' * 64} train.en -\n")
        done = self.fetch(tmp_path)
        assert done.returncode == 1
        assert "put it under $NMT_DATA" in done.stderr

    @each_recipe
    def test_sources_have_three_columns(self, recipe):
        sources = RECIPES / recipe / "sources.txt"
        for line in sources.read_text("utf-8").splitlines() if sources.exists() else ():
            digest, _, place = line.split()
            assert re.fullmatch(r"[0-9a-f]{64}|unknown", digest)
            assert re.match(r"https?://|hub:[^@]+@[^/]+/[^/]+/[^/]+#|-$", place)


def result(seed, score, date="2026-11-27"):
    figure = {"score": score, "signature": "BLEU|case:lc", "expected": 40, "passed": True}
    training = {
        "parameters": 2000000,
        "updates": 800,
        "scheduled": 800,
        "seconds": 120,
        "precision": "bf16",
        "torch": "2.13",
        "seed": seed,
    }
    return {
        "recipe": "multi30k",
        "row": "transformer",
        "date": date,
        "commit": "abc1234",
        "hardware": "a CPU, 2 cores",
        "sacrebleu": "2.6.0",
        "training": training,
        "figures": [figure],
    }


def test_collected_results_show_the_spread_of_seeds(tmp_path):
    collect = script("collect")
    record = tmp_path / "recipes.jsonl"
    collect.add(record, [result(1, 40.0), result(2, 41.0)])
    results = collect.add(record, [result(2, 42.0, "2026-11-28")])
    assert len(results) == len(record.read_text().splitlines()) == 2
    assert "| 41.00 ± 1.41 (40.00, 42.00) | `BLEU|case:lc` |" in collect.table(results).replace("\\|", "|")
    page = tmp_path / "README.md"
    page.write_text(f"# Results\n\n{collect.MARK}old\n{collect.MARK}\nmore\n")
    collect.write(page, "new\n")
    collect.write(page, "new\n")
    assert page.read_text() == f"# Results\n\n{collect.MARK}\nnew\n\n{collect.MARK}\nmore\n"


def test_the_results_page_shows_the_collected_results():
    collect = script("collect")
    results = [json.loads(line) for line in collect.RECORD.read_text("utf-8").splitlines()]
    assert collect.PAGE.read_text("utf-8").split(collect.MARK)[1].strip() == collect.table(results).strip()


def test_talks_are_split_as_in_the_papers(tmp_path):
    talks = script("iwslt14-de-en/talks")
    for side in ("de", "en"):
        head = (
            "<url>http://x</url>\n<title>A Talk</title>\n<description>TED Talk: B.</description>\n<talkid>1</talkid>\n"
        )
        body = "".join(f"Sentence {n} {side}.\n" for n in range(44))
        (tmp_path / f"talks.train.{side}").write_text(head + body)
        for part in talks.TESTS:
            (tmp_path / f"talks.{part}.{side}").write_text(
                f'<doc>\n<seg id="1"> Part {part} &amp; {side} </seg>\n</doc>\n'
            )
    talks.main(tmp_path)
    train, valid, test = ((tmp_path / f"{split}.en").read_text().splitlines() for split in ("train", "valid", "test"))
    assert train[:3] == ["a talk", "ted talk: b.", "sentence 0 en."]
    assert (len(train), len(valid)) == (44, 2)
    assert valid[0] == "sentence 20 en."
    assert test == [f"part {part} & en" for part in talks.TESTS]

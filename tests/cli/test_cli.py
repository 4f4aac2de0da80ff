"""The commands: their options, exit codes, error messages and output."""

import io
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nmtcli.cli import run
from nmtcli.errors import ExitCode, Stopped
from nmtcli.settings import load_config
from nmtcli.train.schedule import Schedule
from tests.conftest import TINY, nmt, overrides
from tests.train.runs import events

# A new option is a visible, argued change.
OPTIONS = {
    "prepare": "--config --dry-run --help --hold-out --hold-out-test --joint --merge --output --processes"
    " --report --scheduler --separate --set --source-language --target-language --test-source --test-target --tokenizer"
    " --train --train-alignment --train-source --train-target --valid --valid-source --valid-target --vocab-size",
    "train": "--allow-changes --config --device --dry-run --extend-vocabulary --finetune-from --gpus --help --output"
    " --plot --precision --preset --set --verbose --verify-resume",
    "translate": "--alignment --attention --attention-head --attention-layer --ban --batch-tokens --beam-groups"
    " --beam --beam-size --coverage-penalty --device --devices --dictionary --ensemble-mean --format --help"
    " --input --input-format --lenpen --length-normalization --length-penalty --localize-numbers --long-lines"
    " --max-length --max-length-factor --max-source-tokens --max-tokens --method --min-length --model --n-best --nbest"
    " --no-repeat-ngram --on-violation --output --overwrite --processes --protect --protect-kinds --protect-patterns"
    " --quantize --replace-unknown --resume --scheduler --seed --set --shortlist --source-language --split-sentences"
    " --stream --tags --target-language --temperature"
    " --terminology --token-scores --top-k --top-p --weights",
    "score": "--at-least --batch-tokens --comet-model --details --device --format --gold-alignment --help --json"
    " --language-pair --lowercase --metric --model --paired --perturb --reference --report --source --target --test-set"
    " --tokenize --train-target",
    "export": "--average --check --data --force --format --help --license --output --preset --quantize"
    " --vocabulary-shortlist",
    "demo": "--help --output --pairs --set --text-only",
}


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("verb", OPTIONS)
def test_the_list_of_options(verb, capsys, wide):
    assert run([verb, "--help"]) == 0
    found = set(re.findall(r"(?<=[\s│,])--[a-z][a-z-]*(?=[\s,])", capsys.readouterr().out))
    assert found == set(OPTIONS[verb].split())


def test_the_exit_codes():
    assert {code.name: int(code) for code in ExitCode} == {
        "DONE": 0,
        "BUG": 1,
        "USAGE": 2,
        "DATA": 3,
        "RESOURCES": 4,
        "CHECK_FAILED": 5,
        "HUNG_UP": 129,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("--lenpen=0", "--length-penalty 0"),
        ("--lenpen 0", "--length-penalty 0"),
        ("--nbest=2", "--n-best 2"),
        ("--beam=3", "--beam-size 3"),
        ("--max-tokens=300", "--batch-tokens 300"),
    ],
)
def test_option_names_of_other_toolkits_are_accepted(trained, typed, name):
    default, given, expected = (
        translate(trained, b"one two three\nfour\n", "--format", "jsonl", *options.split())
        for options in ("", typed, name)
    )
    assert given == expected
    if name.partition(" ")[0] in ("--length-penalty", "--n-best"):
        assert given != default


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("nmt tr", {"train", "translate"}),
        ("nmt demo --te", {"--text-only"}),
        ("nmt --version tr", {"train", "translate"}),
        ("nmt train --plot nowhere --pl", {"--plot"}),
    ],
)
def test_shell_completion_of_commands_and_options(typed, completed):
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_NMT_COMPLETE": "complete_bash"}
    command = [sys.executable, "-c", "from nmtcli.cli import main; import sys; sys.argv = ['nmt']; main()"]
    output = subprocess.run(command, env=os.environ | words, check=True, capture_output=True, text=True).stdout
    assert set(output.split()) == completed


def test_version_and_usage(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("nmt 0.")
    assert run(["trian"]) == 2
    assert run(["train"]) == 2
    assert run(["translate", "-m", "x", "--bem-size", "3"]) == 2
    assert "--beam-size" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "name"), [(signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")])
@pytest.mark.parametrize(
    ("place", "arguments"),
    [
        ("nmtcli.cli.version.describe", ["--version", "--verbose"]),
        ("nmtcli.train.history.read_history", ["train", "--plot", "somewhere"]),
        ("nmtcli.score.scoring.score", ["score", "hypothesis", "-r", "reference"]),
    ],
)
def test_a_signal_has_its_message_and_exit_code_in_every_part_of_a_command(
    place, arguments, number, name, monkeypatch, capsys
):
    def stop(*_):
        raise Stopped(number)

    monkeypatch.setattr(place, stop)
    assert run(arguments) == 128 + number
    assert capsys.readouterr().err.startswith(f"error: {name}: stopped\n")


def test_unexpected_errors_are_reported_as_bugs(monkeypatch, capsys, trained):
    import nmtcli.translate.engines as module

    def fail(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr(module, "open_engine", fail)
    assert nmt("translate", "-m", trained, "-i", os.devnull) == 1
    words = capsys.readouterr().err
    assert "bug in nmt: RuntimeError: boom" in words
    assert "--traceback" in words
    assert "nmt --version --verbose" in words
    for place in range(3):  # anywhere on the command line
        arguments = ["translate", f"--model={trained}", "-i", os.devnull]
        assert nmt(*arguments[:place], "--traceback", *arguments[place:]) == 1
        assert "RuntimeError: boom" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["translate", "-m", "nowhere"], 3),
        (["train", "nowhere", "-o", "x"], 3),
        (["score", "nothing"], 2),
        (["export", "--no-such-option"], 2),
    ],
)
def test_traceback_option_keeps_message_and_exit_code(arguments, code, capsys):
    assert run(arguments) == code
    plain = capsys.readouterr().err
    for place in range(len(arguments) + 1):
        if arguments[place - 1 : place] not in (["-m"], ["-o"]):  # what follows these is their value
            assert run([*arguments[:place], "--traceback", *arguments[place:]]) == code
            told = capsys.readouterr().err
            assert "Traceback (most recent call last)" in told and told.endswith(plain)


# ---- train ----


def test_dry_run_of_train_prints_the_plan_and_writes_nothing(data, tmp_path, capsys):
    command = (
        "train",
        data,
        "-o",
        tmp_path / "run",
        "--device",
        "cpu",
        "--dry-run",
        *overrides(*TINY, "train.learning_rate=auto"),
    )
    assert nmt(*command) == 0
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 15
    expected = (
        "bidirectional LSTM encoder, 1 layer of 16",
        "400 pairs an epoch: 20 updates",
        "12 updates at most, 0.6",
    )
    expected += (
        "embedding.tie all",
        "learning_rate 0.004",
        "largest batch",
        "MB activations",
        "on cpu with 1 thread at",
    )
    for words in (*expected, "export to"):
        assert words in " ".join(shown.split())
    assert "project_keys" not in shown
    assert nmt(*command, "--verbose") == 0
    assert "decoder.attention.project_keys.weight" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert nmt(*[part for part in command if part != "--dry-run"], "--verbose") == 2


def test_dry_run_prints_the_peak_of_a_schedule_that_sets_the_rate_itself(data, tmp_path, capsys):
    noam = overrides(*TINY, "train.schedule=noam", "train.learning_rate=auto", "train.warmup_updates=4")
    assert nmt("train", data, "-o", tmp_path / "x", "--device", "cpu", "--dry-run", *noam) == 0
    config = load_config(overrides=[*TINY, "train.schedule=noam", "train.learning_rate=auto", "train.warmup_updates=4"])
    assert f"peak learning rate {Schedule.of(config, 12).peak:g}" in capsys.readouterr().out


def test_many_planned_epochs_give_a_warning(data, tmp_path, capsys):
    many = overrides(*TINY, "train.max_updates=2000")
    assert nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", "--dry-run", *many) == 0
    assert "2,000 updates are 100 epochs of 400 pairs" in capsys.readouterr().err


def test_run_directory_holds_the_documented_files_and_events(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "checkpoints", "last", "best", "tensorboard"} <= names
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    events = [record["event"] for record in records]
    assert events[0] == "started"
    assert events[-1] == "stopped"
    assert [record["step"] for record in records if record["event"] == "updated"] == [2, 4, 6, 8, 10, 12]
    assert [record["step"] for record in records if record["event"] == "validated"] == [6, 12]
    (last,) = [r for r in records if r["event"] == "validated" and r["step"] == 12]
    assert {"loss", "perplexity", "accuracy", "bleu", "chrf", "exact_match", "samples"} <= set(last)
    assert "accuracy_by_position" in last
    assert list((trained / "tensorboard").iterdir())


def test_training_lowers_the_loss(data, tmp_path):
    settings = [*TINY, "train.max_updates=60", "train.learning_rate=0.01", "train.valid_every=60"]
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*settings)) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["event"] == "updated"]
    assert losses[-1] < 0.75 * losses[0]


def test_early_stopping_prints_its_reason(data, tmp_path, capsys):
    settings = [*TINY, "train.valid_every=2", "train.patience=2", "train.learning_rate=1e-12", "train.max_updates=50"]
    settings.append("train.valid_metric=loss")  # zero BLEU would use up no patience
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*settings)) == 0
    assert "stopped: loss did not improve in 2 validations (patience 2); best" in capsys.readouterr().err


def test_max_epochs_ends_training_and_update_tokens_accumulate_batches(data, tmp_path):
    settings = [*TINY, "train.max_epochs=1", "train.max_updates=1000", "train.update_tokens=1000"]
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*settings)) == 0
    state = json.loads((tmp_path / "run" / (tmp_path / "run" / "last").read_text().strip() / "state.json").read_text())
    assert state["epoch"] == 0
    assert state["step"] == state["position"] < 10


@pytest.mark.parametrize("kind", ["linear", "inverse_sqrt", "noam", "luong234"])
def test_training_follows_each_schedule(data, tmp_path, kind):
    settings = [
        "train.learning_rate=auto",
        f"train.schedule={kind}",
        "train.max_updates=4",
        "train.warmup_updates=2",
        "train.valid_every=4",
    ]
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*TINY, *settings, "train.log_every=1")) == 0
    rates = [event["learning_rate"] for event in events(tmp_path / "run", "updated")]
    schedule = Schedule.of(load_config(files=[tmp_path / "run" / "config.yaml"]), total=4)
    assert rates == pytest.approx([schedule.rate(update) for update in range(1, 5)])


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_each_validation_metric_selects_the_best_checkpoint(data, tmp_path, metric):
    settings = [*TINY, f"train.valid_metric={metric}", "train.valid_every=3"]
    assert nmt("train", data, "-o", tmp_path / "run", *overrides(*settings)) == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    scores = {r["step"]: r[metric] for r in records if r["event"] == "validated"}
    best = (min if metric == "loss" else max)(scores, key=lambda step: scores[step])
    pointed = (tmp_path / "run" / "best").read_text().strip()
    assert scores[int(pointed.split("-")[-1])] == scores[best]


def test_bf16_and_fp32_train_on_a_cpu_and_fp16_is_refused(data, tmp_path, capsys):
    for precision in ("bf16", "fp32"):
        command = ["train", data, "-o", tmp_path / precision, "--device", "cpu", "--precision", precision]
        assert nmt(*command, *overrides(*TINY, "train.max_updates=3", "train.valid_every=3")) == 0
        assert f"precision: {precision}" in (tmp_path / precision / "config.yaml").read_text()
    assert nmt("train", data, "-o", tmp_path / "x", "--device", "cpu", "--precision", "fp16") == 2
    assert "needs a CUDA device" in capsys.readouterr().err


def test_errors_of_train_have_messages(data, trained, tmp_path, capsys):
    def words(code, *arguments):
        assert nmt("train", *arguments) == code
        error = capsys.readouterr().err
        assert "Traceback" not in error
        return error

    run_dir = tmp_path / "run"
    assert "not a data directory" in words(3, tmp_path, "-o", run_dir)
    assert "did you mean train.max_updates" in words(2, data, "-o", run_dir, "--set", "train.max_update=3")
    assert "no preset 'luong'" in words(2, data, "-o", run_dir, "--preset", "luong")
    assert "batch_tokens is 2" in words(2, data, "-o", run_dir, "--set", "train.batch_tokens=2")
    assert "has other settings: model.embedding.size was 16, is 256" in words(2, data, "-o", trained)
    weighted = words(2, data, "-o", run_dir, "--set", "train.corpus_weights.trian=2")
    assert "there is no corpus trian; did you mean train?" in weighted
    again = words(2, data, "-o", trained, *overrides(*TINY, "train.corpus_weights.train=2"))
    assert "has other settings: train.corpus_weights was {}, is {'train': 2.0}" in again
    assert "data was prepared with other settings" in words(
        2, data, "-o", run_dir, "--set", "data.cleaning.max_tokens=7"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "has files, but no run" in words(2, data, "-o", tmp_path / "mine")
    assert not run_dir.exists()


def test_resume_on_other_data_is_refused(corpus, trained, tmp_path, capsys):
    from tests.conftest import prepare_arguments

    assert nmt(*prepare_arguments(corpus, tmp_path / "other"), "--set", "data.cleaning.max_tokens=77") == 0
    assert nmt("train", tmp_path / "other", "-o", trained, *overrides(*TINY)) == 2
    assert "trained on other data" in capsys.readouterr().err


def test_max_updates_may_change_on_resume(data, tmp_path, capsys):
    command = ["train", data, "-o", tmp_path / "run", *overrides(*TINY)]
    assert nmt(*command) == 0
    assert nmt(*command, "--set", "train.max_updates=14") == 0
    words = capsys.readouterr().err
    assert "train.max_updates was 12, is 14" in words
    assert "resuming from update 12" in words


# ---- translate ----


def translate(trained, text: bytes, *options, monkeypatch=None) -> bytes:
    """`nmt translate` of bytes, through its pipes."""
    stdin, stdout = sys.stdin, sys.stdout
    sys.stdin = io.TextIOWrapper(io.BytesIO(text))
    output = io.BytesIO()
    sys.stdout = io.TextIOWrapper(output)
    try:
        assert nmt("translate", "-m", trained, "--device", "cpu", *options) == 0
        sys.stdout.flush()
        return output.getvalue()
    finally:
        sys.stdin, sys.stdout = stdin, stdout


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            # without zeros, of which many mean UTF-16 or a binary file
            st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").replace(b"\0", b"")),
            st.text(max_size=30).map(lambda t: t.replace("\n", "").replace("\0", "").encode("utf-8", "replace")),
        ),
        max_size=8,
    )
)
@example([b"\0", b"one two\0"])
def test_one_line_in_one_line_out_whatever_is_in_the_line(trained, lines):
    lines = [b"one two", *lines]  # a file that begins like an archive or compressed text is refused or decompressed
    output = translate(trained, b"".join(line + b"\n" for line in lines), "-b", "1")
    assert output.count(b"\n") == len(lines)
    output.decode("utf-8")


def test_empty_lines_stay_empty_and_order_is_kept(trained):
    lines = ["one two", "", "nine", "   ", "three four five six seven", "\u0085 \u2028", "one two"]
    output = translate(trained, "\n".join(lines).encode()).decode().split("\n")
    assert output[-1] == ""
    assert len(output) == len(lines) + 1
    assert output[1] == output[3] == ""
    assert output[0] == output[6]
    alone = [translate(trained, line.encode() + b"\n").decode() for line in lines]
    assert alone == [line + "\n" for line in output[:-1]]


def test_translations_do_not_depend_on_batch_tokens(trained, corpus):
    text = (corpus / "valid.words").read_bytes()
    outputs = {translate(trained, text, "--batch-tokens", size) for size in ("20", "300", "300", "5000")}
    assert len(outputs) == 1


def test_tsv_and_jsonl_carry_scores_and_n_best_lists(trained):
    text = b"one two three\n\nfour\n"
    rows = [
        row.split("\t")
        for row in translate(trained, text, "--format", "tsv", "--n-best", "2").decode().rstrip("\n").split("\n")
    ]
    assert [row[0] for row in rows] == ["1", "1", "2", "3", "3"]
    assert rows[2] == ["2", "", "", ""]
    assert float(rows[0][1]) >= float(rows[1][1])
    records = [
        json.loads(line)
        for line in translate(trained, text, "--format", "jsonl", "--n-best", "2").decode().rstrip("\n").split("\n")
    ]
    assert [record["line"] for record in records] == [1, 2, 3]
    assert records[0]["source"] == "one two three"
    assert len(records[0]["candidates"]) == 2
    assert records[0]["candidates"][0]["text"] == records[0]["translation"] == rows[0][3]
    assert records[1] == {"line": 2, "source": "", "translation": "", "candidates": []}


def test_search_options_change_scores_and_lengths(trained):
    def best(*options: str) -> dict:
        record = json.loads(translate(trained, b"one two three four five six\n", "--format", "jsonl", *options))
        return record["candidates"][0]

    plain, normalized = best("--length-penalty", "0"), best("--length-penalty", "2")
    assert plain["score"] == plain["log_prob"]
    assert normalized["score"] != normalized["log_prob"]
    long = best("--max-length-factor", "5", "--min-length", "20")
    assert len(best("--max-length-factor", "0.1")["text"]) < len(long["text"])


def test_attention_page_has_a_heat_map_for_each_line(trained, tmp_path, capsys):
    path = tmp_path / "attention.html"
    translate(trained, b"one two three\n\nfour five\n", "--attention", str(path))
    page = path.read_text("utf-8")
    assert page.count("<figure") == 2
    assert '<bdi class="source">four five</bdi>' in page
    assert 'class="reference"' not in page
    known = b'{"source": "one two", "reference": "2 1"}\n{"source": "three", "reference": ["3"]}\n'
    translate(trained, known, "--attention", str(path))
    assert re.findall('class="reference">([^<]*)<', path.read_text("utf-8")) == ["2 1"]


def test_attention_image_shows_the_first_six_lines(trained, tmp_path, capsys):
    path = tmp_path / "attention.png"
    assert translate(trained, b"one two\n" * 7, "--attention", str(path)).count(b"\n") == 7
    assert path.is_file()
    assert "attention of the first 6 of 7 lines" in capsys.readouterr().err


def test_lines_with_invalid_utf8_are_counted_with_their_numbers(trained, capsys):
    output = translate(trained, b"one\n\xff\xfe two\nthree\n\xc3\n")
    assert output.count(b"\n") == 4
    assert "2 lines (first: line 2): not UTF-8" in capsys.readouterr().err


def test_errors_of_translate_have_messages(trained, tmp_path, capsys):
    def words(code, *arguments):
        assert nmt("translate", "-m", trained, *arguments) == code
        return capsys.readouterr().err

    assert "absent: no such file" in words(3, "-i", tmp_path / "absent")
    assert "--format tsv, jsonl or moses" in words(2, "--n-best", "3", "-i", os.devnull)
    assert "--beam-size" in words(2, "-b", "0", "-i", os.devnull)
    assert ".html" in words(2, "--attention", "x.gif", "-i", os.devnull)
    assert "cannot write" in words(2, "-i", os.devnull, "-o", tmp_path / "no" / "out")
    (tmp_path / "kept").write_text("kept")
    assert nmt("translate", "-m", tmp_path / "absent", "-i", os.devnull, "-o", tmp_path / "kept") == 3
    assert (tmp_path / "kept").read_text() == "kept"


def test_closed_output_pipe_is_no_error(trained, tmp_path):
    text = tmp_path / "long"
    text.write_text("one two\n" * 5000)
    command = f"cat {text} | {sys.executable} -m nmtcli translate -m {trained} -b 1 --device cpu | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert done.returncode == 0


def test_attention_of_a_model_without_attention_is_refused(data, tmp_path, capsys):
    settings = overrides(*TINY, "model.attention.type=none", "train.max_updates=1")
    assert nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", *settings) == 0
    picture = tmp_path / "attention.html"
    assert nmt("translate", "-m", tmp_path / "run", "-i", os.devnull, "--attention", picture) == 2
    assert "the model has no attention" in capsys.readouterr().err
    assert not picture.exists()


def test_several_workers_exclude_a_stream(trained, capsys):
    for more in (["--processes", "2"], ["--devices", "0,1"]):
        assert nmt("translate", "-m", trained, "--stream", *more, "-i", os.devnull) == 2
        assert "--stream cannot be combined with several --processes or --devices" in capsys.readouterr().err

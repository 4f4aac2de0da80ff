"""Training curves: drawn from metrics.jsonl, each update once, on a self-contained page."""

import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmtcli.errors import DataError, ExitCode
from nmtcli.page.charts import HEIGHT, WIDTH, Curve, curve_chart, short, thinned
from nmtcli.train.curves import page
from nmtcli.train.history import read_history
from nmtcli.train.logs import MetricsLog
from tests.conftest import nmt

VALIDATION = {
    "loss": 2.0,
    "perplexity": 7.4,
    "accuracy": 0.5,
    "bleu": 20.0,
    "chrf": 40.0,
    "improved": True,
    "without_improvement": 0,
}


def write_run(directory, *attempts):
    """A run whose processes did the updates of each (from, to], a line for each."""
    directory.mkdir()
    log = MetricsLog(directory / "metrics.jsonl")
    for number, (first, last) in enumerate(attempts):
        log.started({"step": first, "total": 100, "parameters": 10, "pairs": 5, "device": "cpu", "precision": "fp32"})
        for step in range(first + 1, last + 1):
            log.updated({"step": step, "loss": float(number), "learning_rate": 1e-3, "skipped": 0})
            if step % 5 == 0:
                log.validated({"step": step, **VALIDATION}, [])
    return directory


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=5))
def test_updates_repeated_after_a_resume_are_read_once(tmp_path_factory, lengths):
    """Each process begins somewhere before the end of the one before it."""
    attempts, end = [], 0
    for back, length in lengths:
        first = max(0, end - back)
        attempts.append((first, end := first + length))
    history = read_history(write_run(tmp_path_factory.mktemp("runs") / "run", *attempts))
    assert [record["step"] for record in history.updated] == list(range(1, end + 1))
    assert [record["step"] for record in history.validated] == list(range(5, end + 1, 5))
    for record in history.updated:  # by the last process that did it
        does = [number for number, (first, last) in enumerate(attempts) if first < record["step"] <= last]
        assert record["loss"] == does[-1]
    assert history.step == end


def test_undone_updates_are_left_out_and_the_recovery_is_shown(tmp_path):
    run = write_run(tmp_path / "run", (0, 12))
    log = MetricsLog(run / "metrics.jsonl")
    split = {"tokens": 4096, "parts": 2, "setting": "train.batch_tokens"}
    for step in (12, 13):
        log.split({"step": step, **split})
    log.recovered({"step": 13, "to_step": 9, "reason": "20 updates", "precision": "fp32", "rate_scale": 0.5})
    log.updated({"step": 10, "loss": 1.0})
    with log.path.open("ab") as file:
        file.write(b'{"event": "updated", "st')
    history = read_history(run)
    assert [record["step"] for record in history.updated] == list(range(1, 11))
    text = page([history])
    assert "returned to update 9: 20 updates; now fp32, learning rate times 0.5" in text
    assert text.count("lower train.batch_tokens; 2 times in all") == 1


class Reader(HTMLParser):
    """Collects the tags of a page, and holds that each is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_curves_page_is_self_contained(trained):
    text = (trained / "curves.html").read_text()
    assert text == page([read_history(trained)])
    found = Reader(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert not [value for name, value in found.attributes if name in ("src", "href", "xlink:href", "style")]
    assert "url(" not in text
    assert "@import" not in text
    headings = re.findall(r"<h3><bdi>(.*?)</bdi></h3>", text)
    assert headings[:2] == ["Loss per target token", "Perplexity, without label smoothing"]
    assert {"Accuracy, %", "BLEU", "chrF", "Learning rate", "Gradient norm", "Target tokens a second"} <= set(headings)
    assert "Skipped updates" not in headings
    assert "update 12: " in text  # the value of a validation


def test_the_best_validation_is_marked_with_its_value(tmp_path):
    """In the plots of BLEU and the learning rate; several runs have rings without words, which would overlap."""
    run = write_run(tmp_path / "run", (0, 12))
    log = MetricsLog(run / "metrics.jsonl")
    log.validated({"step": 12, **VALIDATION, "bleu": 10.0, "improved": False}, [])
    marks = re.findall(r'<g class="mark.*?</g>', page([read_history(run)]))
    assert [re.sub("<[^>]*>", " ", mark).split() for mark in marks] == [
        ["best", "validation:", "20.0", "at", "10", "20.0", "at", "10"],
        ["best", "validation:", "0.001", "at", "10", "0.001", "at", "10"],
    ]
    several = re.findall(r'<g class="mark.*?</g>', page([read_history(run), read_history(run, "again")]))
    assert len(several) == 4
    assert not any("<text" in mark for mark in several)


def test_every_plot_names_its_axis(trained):
    text = (trained / "curves.html").read_text()
    assert text.count(">updates</text>") == text.count("<figure")


def test_names_are_escaped(tmp_path):
    run = write_run(tmp_path / "<b>&", (0, 6))
    text = page([read_history(run)])
    assert "<b>" not in text
    Reader(text)


def test_train_plot_writes_the_page_of_existing_runs(trained, tmp_path, capsys):
    other = write_run(tmp_path / "other", (0, 20))
    assert nmt("train", "--plot", trained) == 0
    assert capsys.readouterr().out == (trained / "curves.html").read_text()
    assert nmt("train", "--plot", trained, "--plot", other) == 0
    shown = capsys.readouterr().out
    assert f"<bdi>{trained}</bdi>" in shown
    assert f"<bdi>{other}</bdi>" in shown
    Reader(shown)
    assert nmt("train", "--plot", tmp_path) == ExitCode.DATA
    words = capsys.readouterr()
    assert words.out == ""
    assert f"{tmp_path / 'metrics.jsonl'}: cannot read" in words.err


def test_missing_metrics_are_refused_and_empty_ones_plotted(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_history(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    assert page([read_history(tmp_path)]).startswith("<!doctype html>")


def test_runs_of_any_version_are_plotted(tmp_path):
    for name, records in (
        ("new", [{"event": "started", "step": 0, "total": 9}]),
        ("old", [{"event": "started", "step": 0}, {"event": "validated", "step": 3, "loss": float("nan")}]),
        ("odd", [{"event": "later", "step": 0}, {"event": "updated", "step": 3, "loss": "x"}, {"step": 1}, [], 7]),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        Reader(page([read_history(tmp_path / name)]))


# ---- shapes ----

# No measure is smaller; and what differs by a subnormal number is equal once a model was opened on the CPU.
ANY = st.floats(-1e12, 1e12, allow_subnormal=False)
VALUES = st.one_of(st.none(), st.floats(1e-12, 1e12), ANY.filter(lambda value: value == 0 or abs(value) > 1e-99))


@settings(max_examples=60, deadline=None)
@given(values=st.lists(VALUES, max_size=450), zero=st.booleans(), log=st.booleans(), dots=st.booleans())
def test_every_point_lies_on_the_canvas_and_ticks_are_few(values, zero, log, dots):
    drawn = curve_chart([Curve("train", list(enumerate(values)), dots)], len(values), zero=zero, log=log)
    assert (drawn is None) == all(value is None for value in values)
    if drawn is None:
        return
    places = [tuple(map(float, place.split())) for place in re.split("[ML]", drawn.lines[0].path)[1:]]
    assert places
    for x, y in (*places, *((point.x, point.y) for point in drawn.points)):
        assert -0.1 <= x <= WIDTH + 0.1
        assert -0.1 <= y <= HEIGHT + 0.1
    for ticks, size in ((drawn.across, WIDTH), (drawn.up, HEIGHT)):
        assert len(ticks) <= 8
        assert all(-0.1 <= place <= size + 0.1 for place, _ in ticks)


@settings(max_examples=10, deadline=None)
@given(st.lists(VALUES, min_size=401, max_size=900))
def test_thinned_curves_keep_every_peak(values):
    points = list(enumerate(values))
    kept = thinned(points)
    known = [value for value in values if value is not None]
    assert [point for point in points if point in set(kept)] == kept
    assert {(step, value) for step, value in points if value is None} <= set(kept)
    if known:
        assert max(known) in [value for _, value in kept]
        assert min(known) in [value for _, value in kept]


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (0.5, "0.5"), (3 * 1e-4, "0.0003"), (1500, "1,500"), (20_000, "20k"), (2.5e6, "2.5M")],
)
def test_axis_labels_are_short(value, words):
    assert short(value) == words

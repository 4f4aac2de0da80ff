"""Several batches at the same time: the same translations as one after the other."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from nmtcli import LineHandling, Translator
from nmtcli.translate.concurrency import count_parallel_batches, each_batch, usable_threads
from nmtcli.translate.constraints import Phrase, Phrases

WAIT = 30.0  # seconds, for what is there at once


class Engine:
    """Counts what it is told."""

    def __init__(self, parallel_batches: int) -> None:
        self.parallel_batches, self.shares = parallel_batches, []

    def share(self, batches: int) -> None:
        """See `Shared`."""
        self.shares.append((threading.current_thread() is threading.main_thread(), batches))


@pytest.fixture(autouse=True)
def same_threads():
    """PyTorch's threads as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_batches_use_all_threads_and_results_are_in_order():
    engine, meeting = Engine(3), threading.Barrier(3, timeout=WAIT)

    def compute(number: int) -> int:
        if number < 3:
            meeting.wait()  # breaks unless three are here at the same time
        return number * number

    assert list(each_batch(engine, compute, range(10))) == [number * number for number in range(10)]
    assert engine.shares == [(False, 3)] * 3 + [(True, 1)]


@pytest.mark.parametrize(("parallel_batches", "count"), [(1, 5), (4, 1), (4, 0)])
def test_a_single_batch_or_thread_runs_in_the_callers_thread(parallel_batches, count):
    engine, main = Engine(parallel_batches), threading.current_thread()
    seen = list(each_batch(engine, lambda number: (number, threading.current_thread() is main), range(count)))
    assert seen == [(number, True) for number in range(count)] and engine.shares == []


def test_there_are_no_more_threads_than_batches():
    engine = Engine(4)
    list(each_batch(engine, str, range(2)))
    assert {batches for main, batches in engine.shares if not main} == {2}


def test_an_error_reaches_the_caller_and_cancels_waiting_batches():
    begun, go_on = [], threading.Event()

    def compute(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("of the first")
        go_on.wait(WAIT)

    with ThreadPoolExecutor(1) as other:  # lets the second batch end once the first has failed
        other.submit(lambda: (threading.Event().wait(0.2), go_on.set()))
        with pytest.raises(ValueError, match="of the first"):
            list(each_batch(Engine(2), compute, range(100)))
    assert len(begun) < 100


def test_closing_the_iterator_ends_the_work():
    found = each_batch(Engine(2), lambda number: number, range(50))
    assert next(found) == 0
    before = threading.active_count()
    found.close()
    assert threading.active_count() < before


def test_threads_follow_omp_num_threads_or_the_processors(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert usable_threads() == 3
    for nothing in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", nothing)
        assert usable_threads() >= 1
    assert [count_parallel_batches(threads) for threads in (1, 2, 4, 64)] == [1, 2, 4, 4]


def found_by(model, threads, lines, handling=None, **options):
    """Texts and log-probabilities; small batches, so that there are many."""
    weights = [2, 1] if isinstance(model, list) else None
    translator = Translator.load(
        model, "cpu", threads=threads, weights=weights, handling=handling, batch_tokens=40, max_length=20, **options
    )
    assert translator.runtime.parallel_batches == min(threads, 4)
    return [[(one.text, one.log_prob) for one in found.candidates] for found in translator.translate(lines, n_best=2)]


@pytest.mark.parametrize("kind", ["rnn", "transformer", "int8", "onnx", "ctranslate2", "ensemble", "sampling"])
def test_translations_do_not_depend_on_threads(kind, trained, transformer, onnx, ctranslate2, corpus):
    lines = (corpus / "valid.words").read_text("utf-8").split("\n")[:-1]
    kinds = {"transformer": transformer, "onnx": onnx, "ctranslate2": ctranslate2, "ensemble": [trained, onnx]}
    options = {"int8": {"quantize": "int8"}, "sampling": {"method": "sampling", "seed": 3}}.get(kind, {})
    model = kinds.get(kind, trained)
    one, four = (found_by(model, threads, lines, **options) for threads in (1, 4))
    assert four == one and len(one) == len(lines)
    assert torch.get_num_threads() == 4 or kind in ("onnx", "ctranslate2")


def test_shared_banned_words_apply_in_all_batches(trained, corpus):
    lines = (corpus / "valid.words").read_text("utf-8").split("\n")[:-1] * 3
    handling = LineHandling(banned=["1", "2 3"])
    one, four = (found_by(trained, threads, lines, handling) for threads in (1, 4))
    assert four == one
    assert not any("1" in text.split() for found in four for text, _ in found)


def test_the_states_of_a_constraint_are_numbered_once_by_many_threads(monkeypatch):
    rule_of = Phrases._rule

    def slow_rule(self: Phrases, state: object) -> object:
        time.sleep(1e-4)  # another thread goes on here
        return rule_of(self, state)

    monkeypatch.setattr(Phrases, "_rule", slow_rule)
    phrases = [Phrase.of([(number, number + 1, number + 2)], least=0, most=0) for number in range(5, 25)]
    shared, alone = Phrases(tuple(phrases)), Phrases(tuple(phrases))
    walks = [[(7 * step * walk + walk) % 24 + 4 for step in range(60)] for walk in range(1, 33)]

    def rules(constraint: Phrases, walk: list[int]) -> list[object]:
        state, met = constraint.start(), []
        for token in walk:
            state = constraint.advance(state, token)
            met.append(constraint.rule(state))
        return met

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda walk: rules(shared, walk), walks))
    assert together == [rules(alone, walk) for walk in walks]

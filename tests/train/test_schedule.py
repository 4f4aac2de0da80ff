"""Learning-rate schedules: functions of the update with known points."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.settings import load_config
from nmtcli.train.schedule import HALVINGS, Schedule

FALLING = ["cosine", "linear", "inverse_sqrt", "constant", "noam", *HALVINGS, "plateau"]
totals = st.integers(1, 400)


def schedule(kind, total=1000, warmup=100, peak=0.5, patience=1):
    return Schedule(kind, peak, warmup, total, patience)


@given(st.sampled_from(FALLING), totals, st.integers(1, 500))
def test_warmup_is_linear_and_the_rate_never_rises_after_it(kind, total, warmup):
    rates = [schedule(kind, total, warmup).rate(update) for update in range(1, total + 1)]
    if kind not in HALVINGS:
        end = warmup if kind == "noam" else min(warmup, total)
        for update, rate in enumerate(rates[:end], start=1):
            assert rate == pytest.approx(0.5 * update / end)
    assert all(later <= rate for rate, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))
    assert all(0 <= rate <= 0.5 for rate in rates)


@given(st.sampled_from(FALLING), st.integers(200, 600), st.integers(1, 90))
def test_the_peak_rate_is_at_the_end_of_warmup(kind, total, warmup):
    rate = schedule(kind, total, warmup).rate
    assert rate(warmup) == max(rate(update) for update in range(1, total + 1)) == pytest.approx(0.5)
    assert rate(warmup) - rate(warmup + 1) < 0.5 / warmup + 1e-12  # no jump: less than a step of the warm-up


@given(totals, st.integers(0, 100))
def test_cosine_and_linear_schedules_are_half_midway_and_end_at_zero(total, warmup):
    for kind in ("cosine", "linear"):
        falling = schedule(kind, total, warmup)
        if total > warmup:
            assert falling.rate(total) == pytest.approx(0, abs=1e-15)
        if total > warmup and (total - warmup) % 2 == 0:
            assert falling.rate((total + warmup) // 2) == pytest.approx(0.25)


@pytest.mark.parametrize("kind", ["inverse_sqrt", "noam"])
def test_inverse_sqrt_halves_the_rate_at_four_times_the_updates(kind):
    for update in (100, 150, 200):
        assert schedule(kind).rate(4 * update) == pytest.approx(schedule(kind).rate(update) / 2)


@given(st.integers(1, 1024), st.integers(1, 4000), st.integers(1, 10_000))
def test_noam_schedule_is_equation_3_of_vaswani(width, warmup, update):
    settings = load_config(
        overrides=["train.schedule=noam", f"train.warmup_updates={warmup}", f"model.decoder.hidden_size={2 * width}"]
    )
    expected = (2 * width) ** -0.5 * min(update**-0.5, update * warmup**-1.5)
    assert Schedule.of(settings, total=500).rate(update) == pytest.approx(expected)


@given(st.sampled_from(sorted(HALVINGS)), totals)
def test_luong_schedules_halve_evenly_from_their_start(kind, total):
    part, parts, times = HALVINGS[kind]
    begin = Fraction(total * part, parts)
    falling = schedule(kind, total, warmup=0, peak=1.0)
    for update in range(1, total + 1):
        begun = sum(begin + (total - begin) * number / times <= update - 1 for number in range(times))
        assert falling.rate(update) == 0.5**begun


def test_luong_halvings_at_the_updates_of_the_documentation():
    """Luong et al. 2015, section 4.1: 10 epochs, after 5 of them the rate is halved every epoch."""
    falling = schedule("luong5", total=10_000, warmup=0, peak=1.0)
    epochs = [{falling.rate(epoch * 1000 + update) for update in (1, 500, 1000)} for epoch in range(10)]
    assert epochs == [{1.0}] * 5 + [{0.5**times} for times in range(1, 6)]


def test_plateau_schedule_halves_after_validations_without_improvement():
    falling = schedule("plateau", patience=2)
    scale, scales = 1.0, []
    for waited in (0, 1, 2, 3, 4, 0, 1, 2):
        scale = falling.after_validation(scale, waited)
        scales.append(scale)
    assert scales == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125]
    assert falling.rate(500, scale) == falling.rate(500) / 8
    assert schedule("cosine", patience=2).after_validation(1.0, 2) == 1.0


@pytest.mark.parametrize("kind", FALLING)
def test_no_schedule_rises_beyond_the_end(kind):
    falling = schedule(kind, total=500)
    assert falling.rate(700) <= falling.rate(501) <= falling.rate(500)

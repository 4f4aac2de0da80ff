"""Automatic settings: properties of the rules, and what a run stores and keeps."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtcli.config.section import AUTO, settled
from nmtcli.data.tokenizer import vocabulary_size
from nmtcli.errors import UserError
from nmtcli.settings import keys, load_config, replaced
from nmtcli.train import defaults
from nmtcli.train.defaults import AUTOMATIC, automatic
from nmtcli.train.run import settings_of
from tests.conftest import TINY, nmt, overrides

SMALL = overrides(*(one for one in TINY if one.startswith("model") or "threads" in one or "sentences" in one))


class Plan:
    """Batches of pairs that have ten tokens on their longer side."""

    def __init__(self, pairs, batch_tokens):
        self.pairs, self.batch_tokens = pairs, batch_tokens
        self.epochs = SimpleNamespace(pairs=lambda epochs: pairs * epochs)

    def updates(self, epochs):
        return max(1, round(self.pairs * 10 * epochs / self.batch_tokens))


@pytest.fixture
def derive(monkeypatch):
    """The automatic settings for so many pairs."""

    def values(pairs, *overrides, finetuning=False, preset=None):
        config = load_config(preset, overrides=list(overrides))
        size = SimpleNamespace(pairs=pairs, source_tokens=8 * pairs, target_tokens=9 * pairs)
        data = SimpleNamespace(manifest=SimpleNamespace(train=size), train=SimpleNamespace(longest=100))
        plan = SimpleNamespace(training=lambda _, settings: Plan(pairs, settings.batch_tokens))
        monkeypatch.setattr(defaults, "BatchPlan", plan)
        found = automatic(config, data, finetuning)
        return replaced(config, found)

    return values


SIZES = [3_000, 30_000, 166_000, 1_000_000, 30_000_000]


def test_larger_corpora_get_more_updates_fewer_epochs_and_less_dropout(derive):
    settings = [derive(pairs) for pairs in SIZES]
    epochs = [
        one.train.max_updates * one.train.batch_tokens / (10 * size) for one, size in zip(settings, SIZES, strict=True)
    ]
    assert sorted(one.train.max_updates for one in settings) == [one.train.max_updates for one in settings]
    assert sorted(epochs, reverse=True) == pytest.approx(epochs)
    assert epochs[1] == pytest.approx(20, rel=0.05)
    dropouts = [one.model.dropout for one in settings]
    assert sorted(dropouts, reverse=True) == dropouts
    assert (dropouts[0], dropouts[-1]) == (0.4, 0.1)


@given(st.integers(1, 10**8))
def test_batches_hold_the_longest_pair_and_grow_with_the_square_root_of_the_tokens(pairs):
    size = SimpleNamespace(pairs=pairs, source_tokens=8 * pairs, target_tokens=9 * pairs)
    data = SimpleNamespace(manifest=SimpleNamespace(train=size), train=SimpleNamespace(longest=2_000))
    batch = defaults._batch_tokens(load_config(), data)
    assert 2_001 <= batch <= 4_096
    assert batch in (2_001, 4_096) or batch**2 == pytest.approx(10 * pairs / 0.3, rel=0.02)


def test_given_settings_override_automatic_ones(derive):
    short = derive(30_000, "train.max_updates=600", "train.batch_tokens=1500")
    assert (short.train.max_updates, short.train.batch_tokens) == (600, 1500)
    assert (short.train.warmup_updates, short.train.valid_every, short.train.save_every) == (60, 50, 25)
    assert short.model.dropout == 0.1  # three epochs
    assert derive(30_000, "model.dropout=0.25").model.dropout == 0.25
    assert derive(30_000, "train.learning_rate=0.5").train.learning_rate == 0.5
    assert derive(30_000, "train.max_epochs=7").train.max_updates == 7 * 300


@pytest.mark.parametrize(
    ("preset", "rate", "warmup"),
    [
        ("luong-general", 0.0027, 100),
        ("transformer-tiny", 0.004, 400),
        ("transformer-small", 0.002, 400),
        ("transformer-base", 7e-4, 4000),  # its own
    ],
)
def test_the_automatic_learning_rate_depends_on_type_and_width(derive, preset, rate, warmup):
    settings = derive(1_000_000, preset=preset).train
    assert (settings.learning_rate, settings.warmup_updates) == (rate, warmup)


@pytest.mark.parametrize(
    ("preset", "warmup"), [("luong-general", 80), ("transformer-small", 240), ("transformer-base", 240)]
)
def test_warm_up_is_a_larger_part_of_a_short_run_of_a_transformer(derive, preset, warmup):
    assert (
        derive(30_000, "train.max_updates=800", "train.warmup_updates=auto", preset=preset).train.warmup_updates
        == warmup
    )


@pytest.mark.parametrize(("updates", "rate"), [(100, 0.004), (2_000, 0.004), (8_600, 0.003), (29_000, 0.0023)])
def test_recurrent_models_have_a_lower_rate_in_a_long_run(derive, updates, rate):
    assert derive(30_000, f"train.max_updates={updates}").train.learning_rate == rate
    transformer = derive(30_000, f"train.max_updates={updates}", preset="transformer-small").train
    assert transformer.learning_rate == 0.002


def test_wider_models_have_lower_rates_and_sgd_has_its_own(derive):
    short = "train.max_updates=800"
    wide = ["model.encoder.hidden_size=1024", "model.decoder.hidden_size=1024"]
    assert derive(30_000, short, *wide).train.learning_rate == 0.002
    assert derive(30_000, "train.optimizer=sgd").train.learning_rate == 1.0
    assert derive(30_000, "train.schedule=noam").train.learning_rate == AUTO
    assert derive(30_000, "train.schedule=noam").train.warmup_updates == 4000
    assert derive(30_000, short, "model.encoder.layers=4").train.learning_rate == 0.002


def test_finetuning_has_a_tenth_of_the_rate_and_a_quarter_of_the_epochs(derive):
    short = "train.max_updates=800"
    new, tuned = derive(30_000, short), derive(30_000, short, finetuning=True)
    assert tuned.train.learning_rate == pytest.approx(new.train.learning_rate / 10)
    new, tuned = derive(30_000), derive(30_000, finetuning=True)
    assert tuned.train.max_updates == pytest.approx(new.train.max_updates / 4, rel=0.05)


def test_automatic_settings_are_stored_and_kept_on_resume(data, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", data, "-o", run, "--device", "cpu", *SMALL]
    assert nmt(*command, "--set", "train.max_updates=3") == 0
    written = settings_of(run)
    values = {key: _value(written, key) for key in AUTOMATIC}
    assert AUTO not in values.values()
    told = capsys.readouterr().err
    assert f"automatic settings: batch_tokens {values['train.batch_tokens']:,}, warmup_updates" in told
    assert f"learning_rate {values['train.learning_rate']}" in told
    assert nmt(*command, "--set", "train.max_updates=6") == 0  # the dropout and the warm-up of a longer run are others
    again = settings_of(run)
    assert {key: _value(again, key) for key in AUTOMATIC} == values | {"train.max_updates": 6}


@pytest.mark.parametrize(("warmup", "warned"), [(3, True), (2, False)])
def test_a_warm_up_as_long_as_the_run_is_named(data, tmp_path, capsys, warmup, warned):
    settings = ["--set", f"train.warmup_updates={warmup}", "--set", "train.max_updates=3"]
    assert nmt("train", data, "-o", tmp_path / "run", "--device", "cpu", *SMALL, *settings) == 0
    told = capsys.readouterr().err
    assert (
        "train.warmup_updates 3 is not below the 3 updates of the run: the learning rate only grows" in told
    ) == warned


def test_auto_is_accepted_and_other_words_are_refused():
    assert load_config(overrides=["train.batch_tokens=auto"]).train.batch_tokens == AUTO
    for path, field in keys():
        key = ".".join(path)
        if field.default == AUTO and key not in ("data.tokenizer.normalization",):
            for wrong in ("automatic", "true", "-5"):
                with pytest.raises(UserError, match=key):
                    load_config(overrides=[f"{key}={wrong}"])


def test_an_unresolved_automatic_setting_is_refused():
    assert settled(3) == 3
    with pytest.raises(ValueError, match="still auto"):
        settled(AUTO)


@given(st.integers(1, 10**6), st.integers(1, 40))
def test_vocabularies_grow_with_the_text_and_hold_its_characters(words, share):
    text = ["abcde " * min(words, 1000)]
    small, large = (vocabulary_size("unigram", text, 1 / part) for part in (share, 4 * share))
    assert 2_000 <= small <= large <= 32_000


def test_vocabularies_of_many_characters_are_larger():
    assert vocabulary_size("unigram", [chr(0x4E00 + i) for i in range(5_000)], 1.0) >= 5_000 + 256 + 4
    assert vocabulary_size("char", ["a"], 1.0) == 8_000
    # Multi30k: 29,000 pairs of about 120 bytes
    assert vocabulary_size("bpe", ["a" * 120] * 29_000, 1.0) == 6_000


def _value(config, key):
    section, _, name = key.partition(".")
    return getattr(getattr(config, section), name)

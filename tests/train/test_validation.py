"""Validation scores of real translations."""

import json

import pytest
import torch

from nmtcli.checkpoint import RunDirectory, find_model, load_model
from nmtcli.data.directory import open_data
from nmtcli.data.tokenizer import Tokenizer
from nmtcli.metrics.scores import Variant, score_corpus
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.settings import load_config
from nmtcli.train.distributed import Ranks
from nmtcli.train.validation import SAMPLES, Validator
from tests.conftest import TINY, model_config
from tests.train.runs import events, train


def test_exact_match_is_the_share_of_translations_equal_to_their_reference(data):
    torch.manual_seed(0)
    prepared = open_data(data)
    config = load_config(overrides=[*TINY, f"train.valid_sentences={SAMPLES}"])
    model = Seq2Seq(model_config(), len(prepared.tokenizers.source), len(prepared.tokenizers.target))
    validator = Validator(prepared, config, torch.device("cpu"), Ranks())
    _, samples = validator.measure(model, lambda done, total: True)
    translations = [translation for _, _, translation in samples]
    for wrong in range(SAMPLES + 1):
        validator.references = [f"{text} no" if row < wrong else text for row, text in enumerate(translations)]
        metrics, _ = validator.measure(model, lambda done, total: True)
        assert metrics["exact_match"] == pytest.approx(1 - wrong / SAMPLES)


@pytest.mark.parametrize("lowercases", [True, False])
def test_scores_of_a_lowercase_model_ignore_case(data, trained, monkeypatch, lowercases):
    monkeypatch.setattr(Tokenizer, "lowercases", lowercases)
    prepared = open_data(data)
    config = load_config(overrides=[*TINY, f"train.valid_sentences={SAMPLES}"])
    model = load_model(find_model(trained))
    validator = Validator(prepared, config, torch.device("cpu"), Ranks())
    _, samples = validator.measure(model, lambda done, total: True)
    validator.references = [translation for _, _, translation in samples]
    assert any(text != text.swapcase() for text in validator.references)
    expected, _ = validator.measure(model, lambda done, total: True)
    assert expected["exact_match"] == 1
    validator.references = [text.swapcase() for text in validator.references]
    metrics, _ = validator.measure(model, lambda done, total: True)
    for name in ("bleu", "chrf", "exact_match"):
        assert (metrics[name] == pytest.approx(expected[name])) == lowercases


@pytest.mark.parametrize("language", ["zh", "zh-TW", "ja", "JA_jp", "th"])
def test_bleu_in_training_uses_characters_for_scripts_without_spaces(language):
    texts = ["我们今天去学校", "他明天在家里看书"], [["我们今天去公园", "他明天在家里写信"]]
    [plain] = score_corpus(*texts, ["bleu"])
    [found] = score_corpus(*texts, ["bleu"], variant=Variant.in_training(language, lowercase=False))
    assert found.value > 50 > 10 > plain.value


def test_bleu_in_training_is_plain_bleu_for_scripts_with_spaces():
    assert all(Variant.in_training(language, lowercase=False) == Variant() for language in ("de", "ko", "target"))


def test_a_validation_after_the_last_checkpoint_is_kept(data, run):
    """Another set to validate on: the finished run is validated again, and has a best checkpoint by it."""
    more = ["train.max_updates=9", "train.keep_last=9", "train.schedule=constant", "train.valid_sentences=3"]
    assert train(data, run, *more, options=["--allow-changes"]) == 0
    last = RunDirectory(run).checkpoint(9)
    state = json.loads((last / "state.json").read_text())
    assert state["validated_step"] == 9 and [entry[2] for entry in state["best"]] == [9]
    assert RunDirectory(run).pointer("best") == last
    validations = len(events(run, "validated"))
    assert train(data, run, *more) == 0
    assert len(events(run, "validated")) == validations

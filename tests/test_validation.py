"""What validation reports of real translations."""

import pytest
import torch

from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.prepare.directory import open_data
from nmtcli.settings import load_config
from nmtcli.train.distributed import Ranks
from nmtcli.train.validation import SAMPLES, Validator
from tests.conftest import TINY, model_config


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

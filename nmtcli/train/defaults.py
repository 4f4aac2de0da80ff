"""Training settings that are `auto`: few rules from what is known before training (docs/training.md).

They depend on the model's kind and width, on the number of pairs and tokens, and on each other in the order they stand
here, never on the machine. A value that is given wins, and those that follow are worked out from it.
"""

import math
from typing import Any

from nmtcli.config import Config, ModelConfig
from nmtcli.config.section import AUTO
from nmtcli.data.directory import PreparedData
from nmtcli.train.batches import BatchPlan

BATCH_TOKENS = 1_000, 4_096  # least and most
SMALL = 300_000  # tokens of an epoch up to which batches are the smallest
EPOCHS = 20, 30_000  # so many for so many pairs
FEWEST, MOST_EPOCHS = 5, 40
MOST_UPDATES = 10**9  # the largest number that max_updates can be
FINETUNING = 10  # times lower a learning rate for weights that are trained already, and
FINETUNING_EPOCHS = 4  # times fewer epochs
ENCODER_RATE = 5e-5  # of a pretrained encoder (Devlin et al. 2019, A.3: 2e-5 to 5e-5)
LONG = 2_000  # updates of a run beyond which the learning rate of recurrent models falls
VALIDATIONS = 20  # of a run
DROPOUT = 0.1  # so much more for each doubling of the epochs,
LEAST_DROPOUT, MOST_DROPOUT = 0.1, 0.4
_NAMES = ("batch_tokens", "max_updates", "warmup_updates", "learning_rate", "valid_every", "save_every")
AUTOMATIC = (*(f"train.{name}" for name in _NAMES), "model.dropout")


def automatic(config: Config, data: PreparedData, finetuning: bool) -> dict[str, Any]:
    """The values of all settings that are `auto`, by their keys, for a new run; `finetuning` a trained model or not.

    Raises UserError for settings that do not fit the data.
    """
    train = config.train
    given: dict[str, Any] = {name: getattr(train, name) for name in _NAMES if getattr(train, name) != AUTO}
    settled_values: dict[str, Any] = {}

    def settle(name: str, value: Any) -> Any:
        if name not in given:
            settled_values[f"train.{name}"] = value
        return given.get(name, value)

    batch_tokens = settle("batch_tokens", _batch_tokens(config, data))
    plan = BatchPlan.training(data, train.model_copy(update={"batch_tokens": batch_tokens}))
    pairs, an_epoch = plan.epochs.pairs(1), plan.updates(1)
    passes = _epochs(pairs) / (FINETUNING_EPOCHS if finetuning else 1)
    total = _rounded(an_epoch * passes) if train.max_epochs is None else plan.updates(train.max_epochs)
    updates = settle("max_updates", min(total, MOST_UPDATES))
    if train.max_epochs is not None:
        updates = min(updates, plan.updates(train.max_epochs))
    settle("warmup_updates", _warmup(config, updates))
    if train.schedule != "noam":
        settle("learning_rate", _significant(_rate(config, updates) / (FINETUNING if finetuning else 1)))
    valid_every = settle("valid_every", min(2_500, max(50, _rounded(updates / VALIDATIONS))))
    settle("save_every", min(500, max(1, valid_every // 2)))
    if config.model.dropout == AUTO:
        settled_values["model.dropout"] = _dropout(updates / an_epoch)
    return settled_values


def _batch_tokens(config: Config, data: PreparedData) -> int:
    """Small batches for little text, which needs the updates: they grow with the square root of an epoch's tokens.

    Never less than the longest pair.
    """
    size = data.manifest.train
    tokens = max(size.source_tokens, size.target_tokens) + size.pairs  # EOS
    least, most = BATCH_TOKENS
    fitting = min(max(round(least / 10 * math.sqrt(tokens / SMALL)) * 10, least), most)
    if config.train.update_tokens is not None:
        fitting = most
    return max(fitting, data.train.longest + 1)


def _epochs(pairs: int) -> float:
    """Twenty for 30,000 pairs, half as many for eight times the pairs."""
    epochs, reference = EPOCHS
    return min(max(epochs * math.cbrt(reference / pairs), FEWEST), MOST_EPOCHS)


def _warmup(config: Config, updates: int) -> int:
    """Long where layers are normalised after the sublayer, as Vaswani et al. 2017; short for recurrent models.

    In a short run a Transformer needs more than a tenth of its updates (docs/results/quality.md, "Automatic settings").
    """
    if config.train.schedule == "noam":
        return 4_000
    model = config.model
    layered = [part for part in (model.encoder, model.decoder) if part.type != "rnn"]
    if not layered:
        return min(100, updates // 10)
    most = 4_000 if any(part.norm == "post" for part in layered) else 400
    return min(most, updates * 3 // 10)


def _rate(config: Config, updates: int) -> float:
    """In proportion to 1 / width: 0.004 for recurrent models of 512, 0.002 for Transformers of 256; 1 for sgd.

    Recurrent models profit from less in long runs: 0.003 for 8,600 updates (docs/results/quality.md).
    """
    if config.train.optimizer == "sgd":
        return 1.0
    model: ModelConfig = config.model
    width = max(model.encoder.hidden_size, model.decoder.hidden_size)
    if _recurrent(model):
        own = [part.layers for part in (model.encoder, model.decoder) if part.type == "rnn"]
        depth = max(own)
        return 0.004 * min(1, 512 / width) / math.sqrt(depth) * math.pow(min(1, LONG / updates), 0.2)
    return min(0.004, 0.512 / width)


def _dropout(epochs: float) -> float:
    """The more often a pair is seen, the more."""
    rate = DROPOUT * math.log2(max(epochs, 1) / 2.5)
    return round(min(max(rate, LEAST_DROPOUT), MOST_DROPOUT) * 20) / 20  # in steps of 0.05


def _recurrent(model: ModelConfig) -> bool:
    """Whether all that is trained from random weights is recurrent."""
    return model.decoder.type == "rnn" and model.encoder.type in ("rnn", "pretrained")


def _rounded(updates: float) -> int:
    """A number of updates with two significant digits."""
    return max(1, int(_significant(updates)))


def _significant(number: float) -> float:
    return float(f"{number:.1e}")

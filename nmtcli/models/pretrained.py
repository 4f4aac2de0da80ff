"""A pretrained encoder of Hugging Face `transformers` (BERT and others) as an encoder of ours.

The encoder reads token ids, as it has embeddings of its own. A sentence of ours, which ends with EOS, gets the token
before it ([CLS] or <s>). The state of that token is left out again, so that each state belongs to a token of ours.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nmtcli.config import ModelConfig
from nmtcli.errors import UserError
from nmtcli.models.dropout import Dropout
from nmtcli.models.interfaces import Encoded
from nmtcli.vocabulary import BOS, EOS, vocabulary_order

FAMILIES = ("bert", "distilbert", "modernbert", "roberta", "xlm-roberta")  # by the `model_type` of config.json
_AFTER_PADDING = ("roberta", "xlm-roberta")  # positions are counted from the id of padding


def position_limit(architecture: Mapping[str, Any]) -> int:
    """The most tokens of a sentence, those before and after it counted."""
    positions = int(architecture["max_position_embeddings"])
    return positions - architecture["pad_token_id"] - 1 if architecture["model_type"] in _AFTER_PADDING else positions


def make_encoder(architecture: Mapping[str, Any]) -> nn.Module:
    """An encoder of random weights with the settings of a config.json. Raises UserError without transformers.

    On the CPU even for a model on the meta device (`nmtcli.models.quantized`), because no checkpoint holds its buffers;
    then weights are left as memory has them.
    """
    try:
        from transformers import AutoConfig, AutoModel  # noqa: PLC0415 - an extra
        from transformers.initialization import no_init_weights  # noqa: PLC0415
    except ImportError:
        raise UserError("a pretrained encoder needs transformers", "pip install 'nmtcli[pretrained]'") from None
    config = AutoConfig.for_model(**architecture)
    empty = torch.get_default_device().type == "meta"
    make: Callable[..., nn.Module] = AutoModel.from_config
    with torch.device("cpu"), no_init_weights() if empty else nullcontext():
        model = make(config, attn_implementation="sdpa", dtype=torch.float32)
    if hasattr(model, "pooler"):  # for classification; its weights would get no gradient
        del model.pooler
        model.register_module("pooler", None)
    return model


class PretrainedEncoder(nn.Module):
    """An encoder that reads the ids of a pretrained model; see `Encoder`.

    Parts with frozen weights only are run without dropout, also in training.
    """

    ids: Tensor  # [V], the encoder's id of each id of ours

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        settings = config.encoder
        if settings.architecture is None or settings.special_ids is None:
            raise ValueError("the encoder is not settled: nmtcli.train.run.resolve must set its architecture")
        self.model = make_encoder(settings.architecture)
        order = vocabulary_order(settings.special_ids, settings.architecture["vocab_size"])
        self.register_buffer("ids", torch.tensor(order, device="cpu"), persistent=False)
        self.most = position_limit(settings.architecture) - 1  # tokens with EOS
        self.layers = settings.layers
        self.dropout = Dropout(config.dropout)

    def forward(self, source: Tensor, length: Tensor) -> Encoded:
        """Source ids [B, S] that end with EOS, and lengths [B], to states [B, S, H].

        Tokens after the last position of the encoder are not read and have no attention, as with truncation in
        `transformers`; `nmt prepare` drops such pairs, `nmt translate` splits such lines.
        """
        size = source.size(1)
        if size > self.most:
            source = source[:, : self.most].clone()
            source[length > self.most, -1] = EOS
            length = length.clamp(max=self.most)
        before = torch.full_like(source[:, :1], BOS)
        ids = self.ids[torch.cat([before, source], dim=1)]  # [B, 1 + S]
        mask = torch.arange(ids.size(1), device=ids.device)[None] <= length[:, None]  # [B, 1 + S]
        frozen = not any(weight.requires_grad for weight in self.model.parameters())
        with torch.no_grad() if frozen and torch.is_grad_enabled() else nullcontext():
            states = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        states, mask = states[:, 1:].contiguous(), mask[:, 1:].contiguous()  # [B, S, H], [B, S]; ONNX has no strides
        summary = (states * mask[..., None]).sum(dim=1) / length[:, None]  # [B, H]
        if size > self.most:
            states = F.pad(states, (0, 0, 0, size - self.most))
            mask = F.pad(mask, (0, size - self.most))
        return Encoded(self.dropout(states), mask, summary)

    def train(self, mode: bool = True) -> "PretrainedEncoder":
        """Training mode, but of the encoder's parts only where they have trained weights."""
        super().train(mode)
        _without_dropout(self.model)
        return self

    def freeze_below(self, count: int) -> None:
        """Freeze all weights but those of the top `count` layers and of what follows them."""
        self.model.requires_grad_(requires_grad=False)
        if not count:
            return
        stacks = [one for one in self.model.modules() if isinstance(one, nn.ModuleList) and len(one) == self.layers]
        last = getattr(self.model, "final_norm", None)
        for part in (*stacks[0][-count:], *([last] if last is not None else [])):
            part.requires_grad_(requires_grad=True)


def _without_dropout(module: nn.Module) -> None:
    """Evaluation mode of each part with frozen weights only."""
    weights = list(module.parameters())
    if not weights:
        return
    if not any(weight.requires_grad for weight in weights):
        module.eval()
        return
    for part in module.children():
        _without_dropout(part)

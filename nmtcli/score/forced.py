"""Forced decoding: the log-probability of each token of given translations (teacher forcing)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from nmtcli.models.protocol import StepDecoder
from nmtcli.vocabulary import BOS, EOS, PAD

if TYPE_CHECKING:
    import torch

    from nmtcli.models.seq2seq import Seq2Seq

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]


class Forced(Protocol):
    """A model for forced decoding."""

    def __call__(self, source: Ids, source_length: Ids, target: Ids, attention: bool) -> tuple[Floats, Floats | None]:
        """Log-probabilities [B, T] of target ids [B, T], and attention weights [B, T, S] if requested.

        source [B, S] has lengths source_length [B]; both sides end with EOS and are padded. Values on padding are
        undefined.
        """


class ForcedTorch:
    """A PyTorch model: all positions at once."""

    def __init__(self, model: "Seq2Seq", device: "torch.device") -> None:
        self.model, self.device = model.to(device), device

    def __call__(self, source: Ids, source_length: Ids, target: Ids, attention: bool) -> tuple[Floats, Floats | None]:
        """See `Forced`."""
        import torch

        from nmtcli.models.device import explain_out_of_memory

        arrays = (source, source_length, _shifted(target), target)
        with torch.inference_mode(), explain_out_of_memory("--batch-tokens"):
            ids, lengths, inputs, outputs = (torch.as_tensor(array, device=self.device) for array in arrays)
            decoded = self.model.decode(ids, lengths, inputs, attention)
            real = outputs != PAD  # [B, T]
            log_probs = torch.zeros(real.shape, device=self.device)
            log_probs[real] = self._of_tokens(decoded.features[real], outputs[real])
            weights = None if decoded.attention is None else decoded.attention.float().cpu().numpy()
            return log_probs.cpu().numpy(), weights

    def _of_tokens(self, features: "torch.Tensor", tokens: "torch.Tensor") -> "torch.Tensor":
        """Log-probabilities [M] of tokens [M] given features [M, E].

        The output layer always gets the same number of rows: each new shape would take memory that is never freed.
        """
        import torch

        count = len(tokens)
        rows = torch.arange(-(-count // _AT_ONCE) * _AT_ONCE, device=self.device).clamp(max=count - 1)
        found = [
            self.model.log_probs(features[part]).gather(1, tokens[part][:, None])[:, 0]
            for part in rows.view(-1, _AT_ONCE)
        ]
        return torch.cat(found)[:count]


class ForcedSteps:
    """A decoder on NumPy arrays, such as an ONNX model: position by position."""

    def __init__(self, decoder: StepDecoder) -> None:
        self.decoder = decoder

    def __call__(self, source: Ids, source_length: Ids, target: Ids, attention: bool) -> tuple[Floats, Floats | None]:
        """See `Forced`."""
        memory, cache = self.decoder.start(source, source_length)
        inputs = _shifted(target)
        log_probs, weights = [], []
        for position in range(target.shape[1]):
            step = self.decoder.step(inputs[:, position, None], memory, cache)
            cache = step.cache
            log_probs.append(np.take_along_axis(step.log_probs[:, 0], target[:, position, None], axis=1))
            if attention and step.attention is not None:
                weights.append(step.attention)
        return np.concatenate(log_probs, axis=1), np.concatenate(weights, axis=1) if weights else None


class ForcedScores:
    """An engine with its own scoring, such as CTranslate2: sentences and translations without EOS to log-probabilities
    with that of EOS. It returns no attention.
    """

    def __init__(self, log_probs: Callable[[list[list[int]], list[list[int]]], list[list[float]]]) -> None:
        self.log_probs = log_probs

    def __call__(self, source: Ids, source_length: Ids, target: Ids, attention: bool) -> tuple[Floats, Floats | None]:
        """See `Forced`."""
        sources = [row[: length - 1].tolist() for row, length in zip(source, source_length.tolist(), strict=True)]
        targets = [row[: np.argmax(row == EOS)].tolist() for row in target]
        found = np.zeros(target.shape, dtype=np.float32)
        for row, log_probs in enumerate(self.log_probs(sources, targets)):
            found[row, : len(log_probs)] = log_probs
        return found, None


_AT_ONCE = 128  # rows of the output layer


def _shifted(target: Ids) -> Ids:
    """The decoder's input for `target`: BOS, then the previous tokens."""
    return np.concatenate([np.full((len(target), 1), BOS, dtype=np.int64), target[:, :-1]], axis=1)

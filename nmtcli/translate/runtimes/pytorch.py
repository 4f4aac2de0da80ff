"""The PyTorch engine."""

import torch
from torch import Tensor

from nmtcli.models.device import explain_out_of_memory
from nmtcli.models.loop import plain_product
from nmtcli.models.packed import PackedMatrix
from nmtcli.models.protocol import Array, Cache, Memory, Step
from nmtcli.models.seq2seq import Seq2Seq, log_softmax_
from nmtcli.translate.concurrency import count_parallel_batches
from nmtcli.translate.forced import Floats, Ids, shifted
from nmtcli.vocabulary import PAD

_FORCED_ROWS = 128  # of the output layer, in forced decoding


class TorchRuntime:
    """Runs a model on a device without gradients. On a CPU, parallel batches divide PyTorch's threads."""

    def __init__(self, model: Seq2Seq, device: torch.device, limits: str = "--batch-tokens or --beam-size") -> None:
        """`limits` are the options to lower when memory runs out."""
        self.model, self.limits = model.to(device), limits
        self.device = device
        self._threads = torch.get_num_threads()
        self.parallel_batches = count_parallel_batches(self._threads) if device.type == "cpu" else 1

    def share(self, batches: int) -> None:
        """See `Shared`."""
        torch.set_num_threads(max(self._threads // batches, 1))

    def array(self, values: Array) -> Tensor:
        """A NumPy array as a tensor on the device."""
        return torch.as_tensor(values, device=self.device)

    @torch.inference_mode()
    def start(self, source: Tensor, source_length: Tensor) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`."""
        with explain_out_of_memory(self.limits):
            return self.model.start(source, source_length)

    @torch.inference_mode()
    def step(self, tokens: Tensor, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        with explain_out_of_memory(self.limits):
            return self.model.step(tokens, memory, cache)

    @torch.inference_mode()
    def forced(self, source: Ids, source_length: Ids, target: Ids, attention: bool) -> tuple[Floats, Floats | None]:
        """See `Forced`: all positions at once."""
        with explain_out_of_memory("--batch-tokens"):
            ids, lengths, inputs, outputs = map(self.array, (source, source_length, shifted(target), target))
            decoded = self.model.decode(ids, lengths, inputs, attention)
            real = outputs != PAD  # [B, T]
            log_probs = torch.zeros(real.shape, device=self.device)
            log_probs[real] = self._of_tokens(decoded.features[real], outputs[real])
            weights = None if decoded.attention is None else decoded.attention.float().cpu().numpy()
            return log_probs.cpu().numpy(), weights

    def _of_tokens(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Log-probabilities [M] of tokens [M] given features [M, E].

        The output layer always gets the same number of rows: each new shape would take memory that is never freed.
        """
        count = len(tokens)
        rows = torch.arange(-(-count // _FORCED_ROWS) * _FORCED_ROWS, device=self.device).clamp(max=count - 1)
        parts = [
            self.model.log_probs(features[part]).gather(1, tokens[part][:, None])[:, 0]
            for part in rows.view(-1, _FORCED_ROWS)
        ]
        return torch.cat(parts)[:count]

    def restricted_to(self, tokens: Array, allowed: Array) -> "ShortlistDecoder":
        """The model with a vocabulary shortlist for one batch; see `ShortlistDecoder`."""
        return ShortlistDecoder(self, self.array(tokens), self.array(allowed))


class ShortlistDecoder:
    """A model with an output layer of some tokens [R] only; the search uses their positions in that list as ids.

    The probability of each sentence is distributed over its `allowed` [B, R] tokens, so translations do not depend on
    the other sentences of the batch.
    """

    @torch.inference_mode()
    def __init__(self, runtime: TorchRuntime, tokens: Tensor, allowed: Tensor) -> None:
        self._runtime, self._tokens = runtime, tokens
        weight: Tensor | PackedMatrix = runtime.model.output.weight
        self._weight = weight.select(tokens) if isinstance(weight, PackedMatrix) else weight[tokens]
        bias: Tensor | None = runtime.model.output.bias
        self._bias = None if bias is None else bias[tokens]
        self._masked = torch.zeros(allowed.shape, device=tokens.device).masked_fill_(~allowed, float("-inf"))

    def start(self, source: Tensor, source_length: Tensor) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`."""
        memory, cache = self._runtime.start(source, source_length)
        return (memory, self._masked), cache

    @torch.inference_mode()
    def step(self, tokens: Tensor, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        inner, masked = memory
        with explain_out_of_memory(self._runtime.limits):
            features, cache, attention = self._runtime.model.advance(self._tokens[tokens], inner, cache)
            with torch.inference_mode(mode=False), torch.no_grad():  # as in `Seq2Seq.log_probs`
                logits = plain_product(features, self._weight, self._bias).float().add_(masked[:, None])
                return Step(log_softmax_(logits), cache, attention)

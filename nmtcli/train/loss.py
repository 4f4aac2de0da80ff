"""Label-smoothed cross entropy together with the output layer, over real target positions only.

The output layer is a third of an RNN's training step. Its gradient is worked out in the forward pass, a chunk of rows
at a time, so the logits [tokens, V] never exist whole.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nmtcli.metrics import perplexity
from nmtcli.models.interfaces import Decoded
from nmtcli.models.loop import compute_dtype
from nmtcli.models.seq2seq import Seq2Seq
from nmtcli.train.batches import Batch
from nmtcli.vocabulary import PAD

_LEAST = 1e-12  # lower bound of a weight, which is zero outside a local window
ROUND_ROWS = 64
CPU_ROWS, GPU_ROWS = 1024, 8192  # whose logits exist at once; a GPU must be filled
CACHED = 1 << 18  # logits whose softmax in fp32 stays in the cache of a CPU core


class FusedSmoothedLoss(torch.autograd.Function):
    """Sum of the label-smoothed loss of features @ weight.T + bias, with its gradients made on the way.

    In fp16 these do not underflow: a token's own gradient is near 1, that of smoothing, 0.1 / 60,000, has five bits.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        smoothing: float,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """features [M, E], weight [V, E], bias [V] or None, targets [M] to the loss, a scalar in fp32.

        Products run in `dtype`.

        Beside it, without gradient: the negative log-probability and the number of correct tokens, [2].
        """
        size, real = weight.size(0), features.size(0)
        # Zero rows up to a round number: oneDNN makes and keeps a kernel for each shape, and `real` is seldom twice
        # the same.
        inputs = F.pad(features.to(dtype), (0, 0, 0, -real % ROUND_ROWS))
        targets, table = F.pad(targets, (0, len(inputs) - real))[:, None], weight.to(dtype)
        grad_features = torch.empty_like(inputs)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        offset = None if bias is None else bias.to(dtype)
        loss, sums = (features.new_zeros(shape, dtype=torch.float32) for shape in ((), (2,)))
        chunk_rows = min(CPU_ROWS if features.is_cpu else GPU_ROWS, max(1, len(inputs)))
        piece_rows, room = chunk_rows, None
        if features.is_cpu:
            piece_rows = min(max(1, CACHED * torch.get_num_threads() // size), chunk_rows)
            room = features.new_empty(piece_rows, size, dtype=torch.float32)
        products = inputs.new_empty(chunk_rows, size)  # [M', V]: the logits, then their gradient
        for start in range(0, len(inputs), chunk_rows):
            chunk = inputs[start : start + chunk_rows]
            grad = products[: len(chunk)]
            if offset is None:
                torch.mm(chunk, table.t(), out=grad)
            else:
                torch.addmm(offset, chunk, table.t(), out=grad)
            for at in range(0, len(chunk), piece_rows):
                logits = grad[at : at + piece_rows]  # [M'', V]
                target = targets[start + at :][: len(logits)]  # [M'', 1]
                count = max(0, real - start - at)  # of the rows that are not padding
                correct, total, right, slope = _softmax(logits, target, room)
                loss -= (1 - smoothing) * correct[:count].sum() + smoothing / size * total[:count].sum()
                sums += torch.cat([-correct, right], dim=1)[:count].sum(dim=0)
                # softmax minus the smoothed target distribution
                slope.sub_(smoothing / size).scatter_add_(1, target, torch.full_like(correct, smoothing - 1))
                slope[count:] = 0
                logits.copy_(slope)
            torch.mm(grad, table, out=grad_features[start : start + len(chunk)])
            grad_weight += grad.t() @ chunk
            if grad_bias is not None:
                grad_bias += grad.sum(dim=0, dtype=torch.float32)
        grad_bias = None if bias is None or grad_bias is None else grad_bias.to(bias.dtype)
        ctx.save_for_backward(grad_features[:real].to(features.dtype), grad_weight.to(weight.dtype), grad_bias)
        ctx.mark_non_differentiable(sums)
        return loss, sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The stored gradients, times that of the loss."""
        scaled = (None if grad is None else grad * grads[0] for grad in ctx.saved_tensors)
        return *scaled, None, None, None


def _softmax(logits: Tensor, target: Tensor, room: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """logits [M, V] and target [M, 1] to what the loss needs, in fp32 and, with `room` [≥ M, V], in its memory.

    Log-probability of the target, sum of all log-probabilities, whether no token has a higher one, each [M, 1]; softmax
    [M, V].
    """
    if room is None:
        log_probs = torch.log_softmax(logits, dim=1, dtype=torch.float32)
        correct = log_probs.gather(1, target)
        total, right = log_probs.sum(dim=1, keepdim=True), correct >= log_probs.amax(dim=1, keepdim=True)
        return correct, total, right, log_probs.exp_()
    # A CPU's log_softmax is slower than these passes over numbers in its cache.
    numbers = room[: len(logits)].copy_(logits)
    numbers.sub_(numbers.amax(dim=1, keepdim=True))
    correct, total = numbers.gather(1, target), numbers.sum(dim=1, keepdim=True)
    norm = numbers.exp_().sum(dim=1, keepdim=True)
    log_norm = norm.log()
    return correct - log_norm, total - logits.size(1) * log_norm, correct >= 0, numbers.mul_(1 / norm)


def in_chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """[M, …] in parts of as many rows as may have logits [M', V] at once."""
    return torch.split(rows, CPU_ROWS if rows.is_cpu else GPU_ROWS)


def guided_alignment_loss(attention: Tensor, alignment: Tensor) -> Tensor:
    """Cross entropy of attention [B, T, S] against an alignment [B, T, S], summed over target tokens with links.

    −Σ_t Σ_s G[t, s] log A[t, s] (Chen et al. 2016, "Guided Alignment Training for Topic-Aware Neural Machine
    Translation"; Mi et al. 2016, "Supervised Attentions for Neural Machine Translation"). A weight below 1e-12 counts
    as that and has no gradient.
    """
    return -(alignment * attention.float().clamp_min(_LEAST).log()).sum()


class TrainingLoss(nn.Module):
    """A model and label-smoothed cross entropy as one module, with guided alignment where a batch has an alignment."""

    log_sums = 2

    def __init__(self, model: Seq2Seq, smoothing: float, guidance: float = 0.0) -> None:
        """`guidance` is the weight of the guided-alignment loss."""
        super().__init__()
        self.model = model
        self.smoothing = smoothing
        self.guidance = guidance

    def forward(self, batch: Batch, update: int = 0) -> tuple[Tensor, Tensor]:
        """See `Objective`. The sums are the negative log-probability and the number of correct tokens.

        Guided alignment adds its sum times `guidance`. It is divided by all target tokens as well: those without links
        count as zero, so that sparse alignments weigh less than dense ones.
        """
        return self.of_decoded(self._decode(batch, need_attention=batch.alignment is not None), batch)

    def of_decoded(self, decoded: Decoded, batch: Batch) -> tuple[Tensor, Tensor]:
        """`forward` of what the decoder gives for this batch."""
        loss, sums = self._token_loss(*self._real_positions(decoded, batch))
        if batch.alignment is not None:
            assert decoded.attention is not None
            loss = loss + self.guidance * guided_alignment_loss(decoded.attention, batch.alignment)
        return loss, sums

    def metrics(self, sums: Sequence[float], tokens: int, update: int) -> dict[str, float]:
        """See `Objective`."""
        negative_log_prob, correct = sums
        return {"perplexity": perplexity(-negative_log_prob / tokens), "accuracy": correct / tokens}

    def _token_loss(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """features [M, E], targets [M]."""
        weight, bias, dtype = self.model.output.weight, self.model.output.bias, compute_dtype(features)
        fused: tuple[Tensor, Tensor] = FusedSmoothedLoss.apply(features, weight, bias, targets, self.smoothing, dtype)  # type: ignore[no-untyped-call]
        return fused

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Tensor:
        """Sums over the real target tokens [3]: label-smoothed loss, negative log-probability, correct predictions."""
        features, targets = self._real_positions(self._decode(batch), batch)
        sums = torch.zeros(3, device=features.device)
        for some, true in zip(in_chunks(features), in_chunks(targets), strict=True):
            log_probs = self.model.log_probs(some)  # [M', V]
            negative_log_prob = -log_probs.gather(1, true[:, None]).sum()
            loss = (1 - self.smoothing) * negative_log_prob - self.smoothing * log_probs.mean(dim=1).sum()
            sums += torch.stack([loss, negative_log_prob, (log_probs.argmax(dim=1) == true).sum()])
        return sums

    def _decode(self, batch: Batch, need_attention: bool = False) -> Decoded:
        return self.model.decode(batch.source, batch.source_length, batch.target_input, need_attention)

    @staticmethod
    def _real_positions(decoded: Decoded, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features and targets at real positions, without waiting for the device to count them."""
        padding = (batch.target_output == PAD).flatten()  # [B · T]
        real = padding.to(torch.uint8).argsort(stable=True)[: batch.target_tokens]  # [M]
        return decoded.features.flatten(0, 1)[real], batch.target_output.flatten()[real]  # [M, E], [M]

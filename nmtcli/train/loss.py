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
# Rows whose products are made at once, and rows whose softmax stays in a CPU's cache; a GPU must be filled.
CPU_ROWS, GPU_ROWS = (1024, 128), (8192, 8192)


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
        chunk_rows, piece_rows = CPU_ROWS if features.is_cpu else GPU_ROWS
        # Zero rows up to a round number: oneDNN makes and keeps a kernel for each shape, and `real` is seldom twice
        # the same.
        inputs = F.pad(features.to(dtype), (0, 0, 0, -real % ROUND_ROWS))
        targets, table = F.pad(targets, (0, len(inputs) - real)), weight.to(dtype)
        grad_features = torch.empty_like(inputs)
        grad_weight = torch.zeros_like(weight, dtype=torch.float32)
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        offset = None if bias is None else bias.to(dtype)
        loss, sums = torch.zeros((), device=features.device), torch.zeros(2, device=features.device)
        grad = inputs.new_empty(min(chunk_rows, len(inputs)), size)  # of the logits, [M', V]
        for start in range(0, len(inputs), chunk_rows):
            chunk = inputs[start : start + chunk_rows]
            for at in range(0, len(chunk), piece_rows):
                piece = slice(start + at, start + min(at + piece_rows, len(chunk)))
                target, count = targets[piece, None], max(0, real - piece.start)  # of the rows that are not padding
                logits = F.linear(inputs[piece], table, offset)
                log_probs = torch.log_softmax(logits, dim=1, dtype=torch.float32)  # [M'', V]
                correct = log_probs.gather(1, target)
                loss -= (1 - smoothing) * correct[:count].sum() + smoothing / size * log_probs[:count].sum()
                right = correct >= log_probs.amax(dim=1, keepdim=True)  # [M'', 1]
                sums += torch.cat([-correct, right], dim=1)[:count].sum(dim=0)
                # softmax minus the smoothed target distribution
                slope = log_probs.exp_().sub_(smoothing / size)
                slope.scatter_add_(1, target, torch.full_like(correct, smoothing - 1))
                slope[count:] = 0
                grad[at : at + len(slope)] = slope
            used = grad[: len(chunk)]
            torch.mm(used, table, out=grad_features[start : start + len(chunk)])
            grad_weight += used.t() @ chunk
            if grad_bias is not None:
                grad_bias += used.sum(dim=0, dtype=torch.float32)
        grad_bias = None if bias is None or grad_bias is None else grad_bias.to(bias.dtype)
        ctx.save_for_backward(grad_features[:real].to(features.dtype), grad_weight.to(weight.dtype), grad_bias)
        ctx.mark_non_differentiable(sums)
        return loss, sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The stored gradients, times that of the loss."""
        scaled = (None if grad is None else grad * grads[0] for grad in ctx.saved_tensors)
        return *scaled, None, None, None


def in_chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """[M, …] in parts of as many rows as may have logits [M', V] at once."""
    return torch.split(rows, (CPU_ROWS if rows.is_cpu else GPU_ROWS)[0])


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

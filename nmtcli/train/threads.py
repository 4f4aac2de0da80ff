"""Gradients of a micro-batch by several CPU threads, each with a part of its pairs.

PyTorch divides every operation among its threads. Most operations of a small model are too short for that: two threads
then gain a third in bf16, or lose. Threads with pairs of their own meet once a micro-batch, to add their gradients.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch
from torch import Tensor, nn

from nmtcli.models.dropout import drawing_from
from nmtcli.train.batches import Batch

MAX_PARTS = 4  # of a micro-batch: each computes all gradients, and between the operations is Python
CELLS = 256  # tokens of both sides that a part has at least
GRADIENT_BYTES = 2**29  # of all parts together
Loss = Callable[[Batch], tuple[Tensor, Tensor]]  # a part to its loss and what the log needs, a vector


class BatchThreads:
    """Divides micro-batches among `threads` threads; further ones share the operations of each part.

    The parts' gradients are added in the order of the parts, and each part draws its dropout from a generator of its
    own. So the result depends on the number of threads, not on their timing.
    """

    def __init__(self, module: nn.Module, threads: int) -> None:
        """`module` has the weights; its random numbers must all come from `nmtcli.models.dropout`."""
        self.threads = threads
        self.weights = [weight for weight in module.parameters() if weight.requires_grad]
        size = sum(weight.numel() * weight.element_size() for weight in self.weights)
        self.most = max(1, min(threads, MAX_PARTS, GRADIENT_BYTES // max(1, size)))
        self._pool = ThreadPoolExecutor(self.most, thread_name_prefix="part")

    def backward(self, batch: Batch, compute: Loss) -> Tensor:
        """Add the gradients of the loss of `batch` to the weights; returns the sum of the parts' vectors."""
        parts = batch.parts(max(1, min(self.most, batch.cells // CELLS)))
        if len(parts) == 1:
            loss, sums = compute(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return sums
        seeds = torch.randint(2**63 - 1, (len(parts),)).tolist()
        futures = [
            self._pool.submit(self._gradients, part, compute, seed) for part, seed in zip(parts, seeds, strict=True)
        ]
        wait(futures)  # also if one fails, before its memory is needed again
        total: Tensor | None = None
        for future in futures:
            gradients, sums = future.result()
            total = sums if total is None else total + sums
            for weight, gradient in zip(self.weights, gradients, strict=True):
                if gradient is not None:
                    weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        assert total is not None
        return total

    def _gradients(self, part: Batch, compute: Loss, seed: int) -> tuple[list[Tensor | None], Tensor]:
        """The gradients of a part, in one of the threads."""
        torch.set_num_threads(max(1, self.threads // self.most))  # of this thread
        torch.set_autocast_cache_enabled(False)  # the cache is one for all threads
        with drawing_from(torch.Generator().manual_seed(seed)):
            loss, sums = compute(part)
        gradients = torch.autograd.grad(loss, self.weights, allow_unused=True)
        return [None if one is None else one.contiguous() for one in _unshared(gradients)], sums


def _unshared(gradients: Sequence[Tensor | None]) -> Iterator[Tensor | None]:
    """The gradients, each in memory of its own: those of the two biases of an LSTM are one tensor, and are added to."""
    places = set()
    for one in gradients:
        place = None if one is None else one.data_ptr()
        yield one.clone() if one is not None and place in places else one
        places.add(place)

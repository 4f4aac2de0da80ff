"""The gradients of one update: summed over micro-batches and ranks, with smaller micro-batches when memory runs out."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nmtcli.errors import ResourceError
from nmtcli.models.device import free_memory, is_out_of_memory
from nmtcli.train.batches import Batch
from nmtcli.train.distributed import Parallel, Ranks
from nmtcli.train.epochs import Purpose, seeds
from nmtcli.train.precision import MixedPrecision
from nmtcli.train.threads import BatchThreads

Backward = Callable[[Batch, float], Tensor]


class Gradients:
    """Computes the gradients of updates.

    An update is the sum of the losses of all its target tokens, on all ranks, divided once by their number. The number
    of micro-batches and ranks affects memory and speed only. When memory runs out, the micro-batches are halved and the
    update is computed again: its result does not change.
    """

    def __init__(
        self,
        parallel: Parallel,
        ranks: Ranks,
        device: torch.device,
        seed: int,
        on_split: Callable[[Batch], None],
        log_sums: int = 2,
        threads: BatchThreads | None = None,
    ) -> None:
        """`on_split` is called with each micro-batch that ran out of memory and will be halved.

        `log_sums` is that of the objective. `threads` divide each micro-batch, in a process alone on a CPU.
        """
        self.parallel, self.ranks, self.device, self.seed, self.on_split = parallel, ranks, device, seed, on_split
        self.log_sums, self.threads = log_sums, threads
        self.limit: int | None = None  # cells of a micro-batch, once one did not fit
        self.proven = 0  # cells of the largest micro-batch that went through

    def compute(
        self, batches: Sequence[Batch], filler: Batch | None, update: int, precision: MixedPrecision
    ) -> tuple[int, Tensor]:
        """Give the weights the gradients of update number `update`; `batches` are this rank's share of it.

        Returns the target tokens of the whole update, and on the device, of this rank's share, the loss sum and the
        objective's `log_sums` sums. Random numbers are a function of seed, update and rank, so that a resume has no
        state to restore. `filler` is what a rank of `even` engines computes where others have more micro-batches.
        Raises ResourceError where a single pair does not fit.
        """
        micro = self._fitting(batches)
        risky = not micro or max(batch.cells for batch in micro) > self.proven
        tokens, risky_ranks = self.ranks.sum(sum(batch.target_tokens for batch in micro), risky)
        scale = self.ranks.size / max(tokens, 1)  # the engines divide by the number of ranks

        def backward(batch: Batch, weight: float) -> Tensor:
            def compute(part: Batch) -> tuple[Tensor, Tensor]:
                with precision.autocast():
                    loss, sums = self.parallel(part.to(self.device), update)
                return precision.scaler.scale(loss * (scale * weight)), torch.cat([loss.detach()[None], sums]) * weight

            if self.threads is not None:
                return self.threads.backward(batch, compute)
            loss, sums = compute(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            return sums

        self._seed(update)
        if self.parallel.even:
            return int(tokens), self._evenly(micro, filler, backward)
        if risky_ranks or self.ranks.size == 1:
            return int(tokens), self._carefully(micro, backward, update)
        total = torch.zeros(1 + self.log_sums, device=self.device)
        with self.parallel.unsynchronised():
            for batch in micro[:-1]:
                total += backward(batch, 1.0)
        return int(tokens), total + backward(micro[-1], 1.0)

    def _carefully(self, micro: list[Batch], backward: Backward, update: int) -> Tensor:
        """Micro-batches larger than any before: gradients are exchanged only once every rank has its own.

        A rank that runs out of memory amid the exchange could not begin again.
        """
        while True:
            failed = None
            total = torch.zeros(1 + self.log_sums, device=self.device)
            for batch in micro:
                try:
                    with self.parallel.unsynchronised():
                        total += backward(batch, 1.0)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    failed = batch
                    break
            if failed is None:
                break
            # out of the handler, so that the traceback no longer holds what is to be freed
            micro = self._halved(micro, failed)
            self._seed(update)
        self.proven = max([self.proven, *(batch.cells for batch in micro)])
        self.parallel.reduce()
        return total

    def _evenly(self, micro: list[Batch], filler: Batch | None, backward: Backward) -> Tensor:
        """As many micro-batches on every rank, the missing ones without weight."""
        total = torch.zeros(1 + self.log_sums, device=self.device)
        count = self.ranks.most(len(micro))
        for batch in micro:
            total += backward(batch, 1.0)
        for _ in range(count - len(micro)):
            assert filler is not None
            total += backward(filler, 0.0)
        return total

    def _fitting(self, batches: Sequence[Batch]) -> list[Batch]:
        """The batches, halved until each is within the limit."""
        if self.limit is None:
            return list(batches)
        fitting, waiting = [], list(reversed(batches))
        while waiting:
            batch = waiting.pop()
            if batch.cells <= self.limit or len(batch.source) == 1:
                fitting.append(batch)
            else:
                waiting += reversed(batch.halves())
        return fitting

    def _halved(self, micro: list[Batch], failed: Batch) -> list[Batch]:
        """Smaller micro-batches, and the memory that the failed ones hold set free."""
        if len(failed.source) == 1:
            raise ResourceError(
                f"out of memory: one pair of {failed.source.size(1)} source and {failed.target_input.size(1)} target"
                " tokens does not fit",
                "use a smaller model, or prepare with a smaller data.cleaning.max_tokens",
            )
        self.limit = max(half.cells for half in failed.halves())
        self.on_split(failed)
        self.parallel.forget()
        free_memory(self.device)
        return self._fitting(micro)

    def _seed(self, update: int) -> None:
        state = seeds(Purpose.DROPOUT, self.seed, update, self.ranks.rank).generate_state(1, "uint64")
        torch.manual_seed(int(state[0]))

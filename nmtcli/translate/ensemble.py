"""Ensembles: averages of the next-token probabilities of several models."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nmtcli.data.tokenizer import Tokenizer
from nmtcli.errors import UserError
from nmtcli.models.protocol import Array, Cache, Memory, Step, convert, first_array, namespace
from nmtcli.translate.runtimes import Runtime

Mean = Literal["probability", "log_probability"]


class Ensemble:
    """A runtime of several runtimes with the same target vocabulary.

    The mean is of probabilities, or of log-probabilities with renormalisation. Members may use different arrays,
    tensors and NumPy arrays; the search uses those of the first member, and each has its own cache and memory.
    The attention is that of the first member.
    """

    def __init__(
        self, members: Sequence[Runtime], weights: Sequence[float] | None = None, mean: Mean = "probability"
    ) -> None:
        """`weights` need not sum to 1; default: equal. Raises UserError for invalid weights."""
        weights = [1.0] * len(members) if weights is None else list(weights)
        if len(weights) != len(members):
            raise UserError(f"{len(weights)} weights for {len(members)} models", "give one weight per model, or none")
        if any(not (0 < weight < math.inf) for weight in weights):
            raise UserError("the weight of a model is not a positive number", "instead of weight 0, leave a model out")
        self.members, self.mean = list(members), mean
        relative = [weight / max(weights) for weight in weights]  # their sum is finite
        self.weights = [weight / sum(relative) for weight in relative]
        if not all(self.weights):
            raise UserError("the weights of the models are too different", "leave out the model of the least weight")

    @property
    def parallel_batches(self) -> int:
        """See `Shared`."""
        return min(member.parallel_batches for member in self.members)

    def share(self, batches: int) -> None:
        """See `Shared`."""
        for member in self.members:
            member.share(batches)

    def array(self, values: Any) -> tuple[Array, ...]:
        """The same array for every member."""
        return tuple(member.array(values) for member in self.members)

    def arrays(self, values: Sequence[Any]) -> tuple[Array, ...]:
        """One array for each member."""
        return tuple(member.array(value) for member, value in zip(self.members, values, strict=True))

    def start(self, source: Sequence[Array], source_length: Sequence[Array]) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`: source ids and lengths for each member, by its tokenizer and of its array type."""
        started = [member.start(*inputs) for member, *inputs in zip(self.members, source, source_length, strict=True)]
        return tuple(memory for memory, _ in started), tuple(cache for _, cache in started)

    def step(self, tokens: Array, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        steps = [
            member.step(convert(tokens, first_array(states[1])), *states)
            for member, *states in zip(self.members, memory, cache, strict=True)
        ]
        log_probs = self._average([convert(step.log_probs, tokens) for step in steps])
        return Step(log_probs, tuple(step.cache for step in steps), steps[0].attention)

    def _average(self, log_probs: Sequence[Array]) -> Array:
        """Log-probabilities [B, K, V] of the ensemble."""
        sizes = {member.shape[-1] for member in log_probs}
        if len(sizes) > 1:
            raise UserError(
                f"the models have target vocabularies of {', '.join(map(str, sorted(sizes)))} tokens",
                "models of an ensemble must share one target tokenizer",
            )
        xp = namespace(log_probs[0])
        pairs = list(zip(self.weights, log_probs, strict=True))
        if self.mean == "log_probability":
            total = sum(weight * member for weight, member in pairs)
            largest = xp.max(total, axis=-1, keepdims=True)
            return total - largest - xp.log(xp.sum(xp.exp(total - largest), axis=-1, keepdims=True))
        weighted = [member + math.log(weight) for weight, member in pairs]
        total = weighted[0]
        for member in weighted[1:]:
            total = xp.logaddexp(total, member)
        return total


def check_target_vocabularies(tokenizers: Mapping[str, Tokenizer]) -> None:
    """Raise UserError with the difference, unless all models (by name) have the same target pieces."""
    (first, expected), *others = tokenizers.items()
    for name, other in others:
        if expected == other:
            continue
        hint = "prepare the data of all models of an ensemble with one target tokenizer (nmt prepare --tokenizer)"
        if len(expected) != len(other):
            sizes = f"that of {first} has {len(expected):,} tokens, that of {name} {len(other):,}"
            raise UserError(f"the target vocabularies differ: {sizes}", hint)
        numbers = range(len(expected))
        for token, pieces in enumerate(zip(expected.pieces(numbers), other.pieces(numbers), strict=True)):
            if pieces[0] != pieces[1]:
                differing = f"token {token} is {pieces[0]!r} in {first}, {pieces[1]!r} in {name}"
                raise UserError(f"the target vocabularies differ: {differing}", hint)

"""Several models as one: what they say of the next token, averaged."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from array_api_compat import array_namespace

from nmtcli.data.tokenizer import Tokenizer
from nmtcli.errors import UserError
from nmtcli.models.protocol import Array, Cache, Memory, Step, StepDecoder, convert, first_array

Mean = Literal["probability", "log_probability"]


class Ensemble:
    """A step decoder of several with one target vocabulary.

    The mean is of probabilities, or of log-probabilities (then made a distribution again). Members may be of different
    kinds, tensors and NumPy arrays; the search runs on the first member's, and cache and memory stay each with its own.
    Attention is the first member's.
    """

    def __init__(
        self, members: Sequence[StepDecoder], weights: Sequence[float] | None = None, mean: Mean = "probability"
    ) -> None:
        """Equal weights unless given; they need not sum to 1. Raises UserError for weights that cannot be."""
        weights = [1.0] * len(members) if weights is None else list(weights)
        if len(weights) != len(members):
            raise UserError(f"{len(weights)} weights for {len(members)} models", "give one weight a model, or none")
        if any(not (0 < weight < math.inf) for weight in weights):
            raise UserError("the weight of a model is not a positive number", "leave a model out rather than give it 0")
        self.members, self.mean = list(members), mean
        self.weights = [weight / sum(weights) for weight in weights]

    @property
    def at_once(self) -> int:
        """See `Shared`; for members that are runtimes."""
        return min(int(member.at_once) for member in self.members)  # type: ignore[attr-defined]

    def share(self, batches: int) -> None:
        """See `Shared`; for members that are runtimes."""
        for member in self.members:
            member.share(batches)  # type: ignore[attr-defined]

    def array(self, values: Any) -> tuple[Array, ...]:
        """The same array for every member, as each takes it; for members that are runtimes."""
        return tuple(member.array(values) for member in self.members)  # type: ignore[attr-defined]

    def arrays(self, values: Sequence[Any]) -> tuple[Array, ...]:
        """An array for each member, as it takes it."""
        return tuple(member.array(own) for member, own in zip(self.members, values, strict=True))  # type: ignore[attr-defined]

    def start(self, source: Sequence[Array], source_length: Sequence[Array]) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`: source ids and lengths for each member, by its own tokenizer and of its own kind."""
        started = [member.start(*own) for member, *own in zip(self.members, source, source_length, strict=True)]
        return tuple(memory for memory, _ in started), tuple(cache for _, cache in started)

    def step(self, tokens: Array, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        steps = [
            member.step(convert(tokens, first_array(own[0])), *own)
            for member, *own in zip(self.members, memory, cache, strict=True)
        ]
        log_probs = self._average([convert(step.log_probs, tokens) for step in steps])
        return Step(log_probs, tuple(step.cache for step in steps), steps[0].attention)

    def _average(self, log_probs: Sequence[Array]) -> Array:
        """Log-probabilities [B, K, V] of the ensemble."""
        sizes = {member.shape[-1] for member in log_probs}
        if len(sizes) > 1:
            raise UserError(
                f"the models have target vocabularies of {', '.join(map(str, sorted(sizes)))} tokens",
                "models of an ensemble share one target tokenizer",
            )
        xp = array_namespace(log_probs[0])
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
    """Raise UserError that says what differs, unless all models (by name) have the first one's target pieces."""
    (first, own), *others = tokenizers.items()
    for name, other in others:
        if own == other:
            continue
        hint = "models of an ensemble are trained on data prepared with one target tokenizer (nmt prepare --tokenizer)"
        if len(own) != len(other):
            sizes = f"that of {first} has {len(own):,} tokens, that of {name} {len(other):,}"
            raise UserError(f"the target vocabularies differ: {sizes}", hint)
        numbers = range(len(own))
        for token, pieces in enumerate(zip(own.pieces(numbers), other.pieces(numbers), strict=True)):
            if pieces[0] != pieces[1]:
                differing = f"token {token} is {pieces[0]!r} in {first}, {pieces[1]!r} in {name}"
                raise UserError(f"the target vocabularies differ: {differing}", hint)

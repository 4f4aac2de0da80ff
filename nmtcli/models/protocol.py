"""The interface between search and model: `start` a batch of sentences, then `step` token by token.

Shape letters in all modules: B batch (sentences), K beam, N = B·K rows (hypotheses), S source length, T target length,
V vocabulary, E embedding, H hidden. Masks are True on real tokens.

Arrays are PyTorch tensors or NumPy arrays; a decoder takes and returns one kind. This module imports neither.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from array_api_compat import array_namespace, device, to_device

Array = Any
Memory = Any  # nested tuples and dicts of arrays, one row per sentence [B, …]; fixed during the search
Cache = Any  # nested tuples and dicts of arrays, one row per hypothesis [N, …]; an input and an output of each step


@dataclass(frozen=True)
class Step:
    """The result of a step: log-probabilities of the next token, the new cache, attention weights.

    The search may write into the log-probabilities.
    """

    log_probs: Array  # [B, K, V]
    cache: Cache
    attention: Array | None = None  # [B, K, S]


class StepDecoder(Protocol):
    """A model, an exported model or an ensemble, as used by the search.

    `step` predicts for each hypothesis the token after `tokens` [B, K], its last one. K may change between steps as
    long as `cache` has N = B·K rows. The decoder is stateless: the search reorders, repeats and drops rows.
    """

    def start(self, source: Array, source_length: Array) -> tuple[Memory, Cache]:
        """Encode source ids [B, S] with lengths [B]; the cache has one row per sentence."""

    def step(self, tokens: Array, memory: Memory, cache: Cache) -> Step:
        """Extend each hypothesis by one token."""


_NAMESPACES: dict[type, Any] = {}


def namespace(array: Array) -> Any:
    """The array API of an array (`array_namespace`), remembered for its type: a search needs it many times a step."""
    kind = type(array)
    if kind not in _NAMESPACES:
        _NAMESPACES[kind] = array_namespace(array)
    return _NAMESPACES[kind]


def map_rows(tree: Any, function: Callable[[Array], Array]) -> Any:
    """Apply `function` to every array in nested tuples and dicts."""
    if isinstance(tree, dict):
        return {key: map_rows(value, function) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(map_rows(value, function) for value in tree)
    return function(tree)


def select_rows(tree: Any, rows: Array) -> Any:
    """The given rows (an index array [M]) of every array: reorders, repeats or drops sentences or hypotheses.

    An ensemble may have arrays of several kinds; `rows` may be of any kind.
    """
    return map_rows(tree, lambda array: namespace(array).take(array, convert(rows, array), axis=0))


def first_array(tree: Any) -> Array:
    """The first array in nested tuples and dicts, which gives their kind and device."""
    while isinstance(tree, tuple | dict):
        tree = next(iter(tree.values() if isinstance(tree, dict) else tree))
    return tree


def convert(array: Array, like: Array) -> Array:
    """The array as the kind and on the device of `like`, without a copy if it is so already."""
    xp, where = namespace(like), device(like)
    if namespace(array) is xp and device(array) == where:
        return array
    return xp.asarray(to_device(array, "cpu") if where == "cpu" else array, device=where)


def index_array(values: Sequence[Any] | Array, like: Array) -> Array:
    """Integers as an array of the kind and on the device of `like`."""
    return namespace(like).asarray(values, dtype=namespace(like).int64, device=device(like))


def on_host(array: Array) -> Any:
    """A tensor or a NumPy array as a NumPy array."""
    return to_device(array, "cpu").__array__()

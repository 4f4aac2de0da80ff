"""Engines, one per module: PyTorch, ONNX Runtime, CTranslate2; and what the translator expects of them."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nmtcli.config import SearchConfig
from nmtcli.models.protocol import Array, StepDecoder
from nmtcli.translate.byte_pieces import BytePieces
from nmtcli.translate.concurrency import Shared
from nmtcli.translate.search import Hypothesis
from nmtcli.translate.translation import LineHandling


class Runtime(StepDecoder, Shared, Protocol):
    """An engine that runs a model step by step, with its own type of arrays."""

    def array(self, values: NDArray[np.int64]) -> Array:
        """A NumPy array as an array of this runtime."""


class ShortlistRuntime(Runtime, Protocol):
    """A runtime that supports vocabulary shortlists."""

    def restricted_to(self, tokens: NDArray[np.int64], allowed: NDArray[np.bool_]) -> StepDecoder:
        """The model with these target tokens [R] only; `allowed` [B, R] are those of each sentence."""


@runtime_checkable
class Searcher(Shared, Protocol):
    """An engine with its own search, without the step protocol. It has no lexical constraints."""

    max_tokens: int  # of a sentence, without EOS

    def check(self, config: SearchConfig, handling: LineHandling) -> None:
        """Raise UserError for settings that it does not support."""

    def search(
        self,
        sentences: Sequence[Sequence[int]],
        config: SearchConfig,
        n_best: int,
        keep_attention: bool,
        byte_pieces: BytePieces | None,
        keep_log_probs: bool = False,
    ) -> list[list[Hypothesis]]:
        """At most `n_best` hypotheses of each sentence (ids without EOS) of a batch, best first.

        Bytes that are not a character are removed. `keep_log_probs` adds the log-probability of each token.
        """

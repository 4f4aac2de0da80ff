"""COMET (Rei et al. 2020) as a metric of sacreBLEU, so that intervals and paired tests work with it too.

The package `unbabel-comet` and its model are optional.
"""

import importlib.util
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sacrebleu.metrics.base import Metric, Signature
from sacrebleu.metrics.base import Score as MetricScore

from nmtcli.errors import UserError

DEFAULT_MODEL = "Unbabel/wmt22-comet-da"


class _CometSignature(Signature):
    """A signature with the number of references, the model, and COMET's version in place of sacreBLEU's."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        # these two characters separate the fields of a signature
        self.info["model"] = values["model_name"].replace(":", "-").replace("|", "-")
        self.info["version"] = f"unbabel-comet-{version('unbabel-comet')}"


class Comet(Metric):
    """A score by a trained model from source, translation and reference; the mean over sentences, about 0 to 1.

    With several references, a sentence's score is the mean over them.
    """

    _SIGNATURE_TYPE = _CometSignature  # type: ignore[assignment] # sacreBLEU's own metrics do the same

    def __init__(
        self, source: Sequence[str], references: Sequence[Sequence[str]], model_name: str, gpu: bool = False
    ) -> None:
        """Load a model: the name of one of Unbabel's models, which is downloaded once, or a checkpoint file.

        Raises UserError if `unbabel-comet` is not installed or the model does not exist.
        """
        super().__init__()  # type: ignore[no-untyped-call]
        require_comet()
        self.model_name, self.num_refs = model_name, len(references)
        self._source, self._references, self._gpu = source, references, gpu
        self._model = _load(model_name)
        self._cache: dict[tuple[str, ...], list[list[float]]] = {}  # scores of the systems seen

    def sentence_scores(self, hypotheses: Sequence[str]) -> list[float]:
        """The score of each sentence."""
        return [score for score, _ in self._extract_corpus_statistics(hypotheses, None)]

    def _extract_corpus_statistics(self, hypotheses: Sequence[str], references: object) -> list[list[float]]:
        """Score and count of each sentence, [B, 2]; the result is cached for each system."""
        key = tuple(hypotheses)
        if key not in self._cache:
            samples = [
                {"src": source, "mt": hypothesis, "ref": reference}
                for stream in self._references
                for source, hypothesis, reference in zip(self._source, hypotheses, stream, strict=True)
            ]
            predicted = self._model.predict(samples, batch_size=16, gpus=int(self._gpu), progress_bar=False).scores
            count = len(hypotheses)
            sums = [sum(predicted[row::count]) for row in range(count)]
            self._cache[key] = [[total / self.num_refs, 1.0] for total in sums]
        return self._cache[key]

    def _aggregate_and_compute(self, stats: Any) -> MetricScore:
        return self._compute_score_from_stats([sum(column) for column in zip(*stats, strict=True)])

    def _compute_score_from_stats(self, stats: Any) -> MetricScore:
        return MetricScore("COMET", float(stats[0] / stats[1]))

    def _preprocess_segment(self, sent: str) -> str:
        return sent

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        raise AssertionError("never called: whole systems are scored together")

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict[str, Any]) -> list[Any]:
        raise AssertionError("never called: whole systems are scored together")


def require_comet() -> None:
    """Raise UserError if COMET is not installed. Call it before other work."""
    if importlib.util.find_spec("comet") is None:
        raise UserError("--metric comet needs unbabel-comet, which is not installed", "pip install 'nmtcli[comet]'")


def _load(name: str) -> Any:
    from comet import download_model, load_from_checkpoint

    try:
        return load_from_checkpoint(name if Path(name).is_file() else download_model(name))
    except (KeyError, OSError, ValueError) as error:  # hub and network errors are among them
        raise UserError(
            f"cannot load the COMET model {name}: {error}",
            "give a name such as Unbabel/wmt22-comet-da, with network access the first time, or a checkpoint file",
        ) from error

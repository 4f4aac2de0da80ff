"""A text of any size through a translator, window after window, in this process or in several.

What a window becomes depends on the window and the settings alone, and results come in order: so the number of
processes changes nothing in what is written, and an interrupted translation can go on at any window.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

import xxhash

from nmtcli.checkpoint import CARD, STATE, TENSORS
from nmtcli.data.workers import Workers, warm_up
from nmtcli.metrics.alignment import format_links
from nmtcli.models.selected_attention import DEFAULT_ATTENTION, AttentionChoice
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.ensemble import Mean
from nmtcli.translate.formats import Format, attention_json, json_text, render
from nmtcli.translate.lines import MOST_BYTES, MOST_LINES, Prefix, Report, Window
from nmtcli.translate.translation import LineHandling, Translation
from nmtcli.translate.translator import Translator

if TYPE_CHECKING:
    from nmtcli.models.packed import Precision

_CHUNK = 2**20
_UNREADABLE = Translation("", ())


@dataclass(frozen=True)
class Job:
    """What to translate with, and what to write; it can be sent to another process."""

    models: tuple[Path, ...]  # model directories: all workers open the same, even while a run is trained
    device: str = "auto"
    search: Mapping[str, Any] = field(default_factory=dict)  # settings that replace the model's own
    handling: LineHandling = field(default_factory=LineHandling)
    form: Format = "text"
    n_best: int = 1
    alignment: Literal["beside", "apart"] | None = None  # beside the text, or lines of their own
    attention: bool = False  # a JSON object for each line
    drawn: int = 0  # the attention of so many lines at the beginning is kept
    weights: tuple[float, ...] | None = None  # of the models of an ensemble
    quantize: "Precision | None" = None
    shortlist: bool = False
    mean: Mean = "probability"
    told: AttentionChoice = DEFAULT_ATTENTION

    def settings(self) -> dict[str, Any]:
        """All that decides what is written, as plain values."""
        handling = self.handling
        words = None if handling.dictionary is None else sorted(handling.dictionary.items())
        terms = sorted((source, list(targets)) for source, targets in handling.terms.items())
        return {
            "model": ", ".join(f"{model.name} {digest_model(model)}" for model in self.models),
            "weights": self.weights and list(self.weights),
            "mean": self.mean,
            "device": self.device,
            "quantize": self.quantize,
            "shortlist": self.shortlist,
            **self.search,
            "long_lines": self.handling.long_lines,
            "max_source_tokens": self.handling.max_source_tokens,
            "dictionary": None if words is None else _digest(words),
            "terms": _digest(terms) if terms else None,
            "banned": _digest(list(handling.banned)) if handling.banned else None,
            "placeholders": handling.placeholders,
            "format": self.form,
            "n_best": self.n_best,
            "alignment": self.alignment,
            "attention": self.attention,
            "attention_layer": self.told.layer,
            "attention_head": self.told.head,
            "window": [MOST_LINES, MOST_BYTES],
        }


@dataclass(frozen=True)
class TranslatedWindow:
    """What is to be written for a window: bytes for the translations and, where asked for, alignment and attention."""

    lines: int
    end: Prefix
    written: dict[str, bytes]
    maps: dict[int, AttentionMap]  # by number of the line
    report: Report


class WindowTranslator:
    """Translates windows; the model is opened with the first one."""

    def __init__(self, job: Job, device: str, threads: int | None) -> None:
        self._job, self._device, self._threads = job, device, threads

    def open(self) -> None:
        """Open the model now."""
        _ = self._translator

    @cached_property
    def _translator(self) -> Translator:
        job = self._job
        return Translator.load(
            job.models,
            self._device,
            handling=job.handling,
            threads=self._threads,
            weights=job.weights,
            quantize=job.quantize,
            shortlist=job.shortlist,
            mean=job.mean,
            told=job.told,
            **dict(job.search),
        )

    def __call__(self, window: Window) -> TranslatedWindow:
        """Read, translate and render a window."""
        job, report = self._job, Report()
        drawn = window.first <= job.drawn
        requests = window.requests(report)
        readable = {number: one for number, one in enumerate(requests, window.first) if one is not None}
        found = iter(
            self._translator.translate(
                readable.values(),
                numbers=readable,
                n_best=job.n_best,
                attention=job.attention or drawn,
                alignment=job.alignment is not None,
            )
        )
        texts: dict[str, list[str]] = {"translations": []}
        texts |= {"alignment": []} if job.alignment == "apart" else {}
        texts |= {"attention": []} if job.attention else {}
        maps = {}
        for number, request in enumerate(requests, window.first):
            translation = _UNREADABLE if request is None else next(found)
            extra = None if request is None else request.extra
            texts["translations"].append(render(translation, number, job.form, job.alignment == "beside", extra))
            best = translation.candidates[0] if translation.candidates else None
            if job.alignment == "apart":
                texts["alignment"].append(format_links(best.alignment if best else None) + "\n")
            if job.attention:
                texts["attention"].append(json_text(attention_json(best.attention if best else None, number)) + "\n")
            if number <= job.drawn and best is not None and best.attention is not None:
                reference = (extra or {}).get("reference")
                maps[number] = replace(best.attention, reference=reference if isinstance(reference, str) else "")
            if translation.treatment is not None:
                report.note(translation.treatment, number)
            for problem in translation.problems:
                report.note(problem, number)
        written = {name: "".join(lines).encode("utf-8", "replace") for name, lines in texts.items()}
        return TranslatedWindow(len(window.lines), window.end, written, maps, report)


def translate_windows(
    job: Job, windows: Iterable[Window], processes: int | None = None, devices: Sequence[str] = ()
) -> Iterator[TranslatedWindow]:
    """Every window translated, in order, a few windows in memory for each process.

    `processes` workers compute with one thread each, or one worker on each of `devices`; without either this process
    does it with all threads. Raises ResourceError if a worker dies.
    """
    count = len(devices) or processes or 1
    warm_up(count, preload=__name__)  # first, so that what looks after the queue takes no signal for itself
    places: Any = get_context("spawn").SimpleQueue() if count > 1 else SimpleQueue()
    for device in devices or [job.device] * count:
        places.put(device)
    threads = 1 if devices or processes else None
    make: Callable[[], WindowTranslator] = partial(_take_place, job, places, threads)
    with Workers(count, make) as workers:
        yield from workers.map(windows)


def _take_place(job: Job, places: Any, threads: int | None) -> WindowTranslator:
    worker = WindowTranslator(job, places.get(), threads)
    if parent_process() is None:
        worker.open()  # a worker waits for its first window: what it says of a broken model is heard then
    return worker


def _digest(value: Any) -> str:
    return xxhash.xxh3_128_hexdigest(repr(value).encode("utf-8", "replace"))


def digest_model(directory: Path) -> str:
    """Xxh3-128 of all files that decide what a model translates, in hexadecimal."""
    digest = xxhash.xxh3_128()
    for path in sorted(directory.rglob("*")):
        if not path.is_file() or path.name in {STATE, TENSORS, CARD}:
            continue
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()

"""Translation of windows of lines, in this process or in worker processes.

The result of a window depends on the window and the settings only, and results are in order. So the output is the same
for any number of processes, and an interrupted translation can be resumed at any window.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, TypeAlias

from nmtcli.checkpoint import CARD, STATE, TENSORS, file_digests
from nmtcli.data.digests import checksum
from nmtcli.data.workers import Workers, local_workers, warm_up
from nmtcli.metrics.alignment import format_links
from nmtcli.text.inline import content_of
from nmtcli.text.sentences import several_sentences
from nmtcli.text.spans import Scanner
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.engines import ModelOptions
from nmtcli.translate.formats import COLLECTED, Format, attention_json, json_text, render
from nmtcli.translate.lines import MAX_BYTES, MAX_LINES, Prefix, Report, Window
from nmtcli.translate.segments import SegmentWindow, content_json
from nmtcli.translate.translation import Request, Translation, without_controls
from nmtcli.translate.translator import Translator

_TAGS = Scanner(["tag"])
_UNREADABLE = Translation("", ())
_PLAIN = (  # settings of `LineHandling`
    "long_lines",
    "max_source_tokens",
    "split_sentences",
    "source_language",
    "target_language",
    "protect",
    "localize_numbers",
    "tags",
    "on_violation",
)


@dataclass(frozen=True)
class Job(ModelOptions):
    """Models, settings and output formats.

    `models` are directories, the same for all workers even while a run is trained.
    """

    form: Format = "text"
    n_best: int = 1
    alignment: Literal["beside", "apart"] | None = None  # in the output, or in a separate file
    attention: bool = False  # write a JSON object for each line
    token_scores: bool = False  # in the output
    heat_maps: int = 0  # number of lines, from the first, whose attention is kept

    @cached_property
    def _digests(self) -> str:
        """The models and their contents; read once for all files of a folder."""
        return ", ".join(f"{model.name} {digest_model(model)}" for model in self.models)

    def settings(self) -> dict[str, Any]:
        """All settings that the output depends on, as plain values."""
        handling, attention = self.handling, self.selected_attention
        words = None if handling.dictionary is None else sorted(handling.dictionary.items())
        terms = sorted((source, list(targets)) for source, targets in handling.terms.items())
        names = ("mean", "device", "quantize", "shortlist", "n_best", "alignment", "attention", "token_scores")
        return {
            "model": self._digests,
            "weights": self.weights and list(self.weights),
            **{name: getattr(self, name) for name in names},
            **self.search,
            **{name: getattr(handling, name) for name in _PLAIN},
            "protect_kinds": list(handling.protect_kinds),
            "patterns": list(handling.patterns),
            "dictionary": None if words is None else _digest(words),
            "terms": _digest(terms) if terms else None,
            "banned": _digest(list(handling.banned)) if handling.banned else None,
            "format": self.form,
            "attention_layer": attention.layer,
            "attention_head": attention.head,
            "window": [MAX_LINES, MAX_BYTES],
        }


@dataclass(frozen=True)
class TranslatedWindow:
    """The output of a window: bytes of translations and, if requested, of alignment and attention."""

    lines: int
    end: Prefix
    written: dict[str, bytes]
    maps: dict[int, AttentionMap]  # by line number
    report: Report


class WindowTranslator:
    """Translates windows; opens the model for the first one."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def open(self) -> None:
        """Open the model."""
        _ = self._translator

    @cached_property
    def _translator(self) -> Translator:
        return Translator.open(self._job)

    def _pair(self, request: Request | None, translation: Translation) -> str:
        """Source and translation with their tags, as a line of JSON."""
        source = () if request is None else request.content
        if source is None:
            line = without_controls(translation.source)
            source = content_of(line, _TAGS.scan(line)) if self._job.handling.tags == "transfer" else (line,)
        return json_text([content_json(source), content_json(translation.content)]) + "\n"

    def __call__(self, window: Window | SegmentWindow) -> TranslatedWindow:
        """Read, translate and render a window."""
        job, report = self._job, Report()
        form: Format = "document" if window.whole_document and job.form == "text" else job.form
        keep_attention = job.attention or window.first <= job.heat_maps
        requests = window.requests(report)
        readable = {number: one for number, one in enumerate(requests, window.first) if one is not None}
        translations = iter(
            self._translator.translate(
                readable.values(),
                numbers=readable,
                n_best=job.n_best,
                attention=keep_attention,
                alignment=job.alignment is not None,
                token_scores=job.token_scores,
            )
        )
        texts: dict[str, list[str]] = {"translations": []}
        texts |= {"alignment": []} if job.alignment == "apart" else {}
        texts |= {"attention": []} if job.attention else {}
        maps = {}
        if self._translator.single_sentences:
            for request, place in zip(requests, window.places, strict=True):
                if request is not None and several_sentences(request.source):
                    report.note("several-sentences", place)
        for number, (request, place) in enumerate(zip(requests, window.places, strict=True), window.first):
            translation = _UNREADABLE if request is None else next(translations)
            extra = None if request is None else request.extra
            if form in COLLECTED:
                texts["translations"].append(self._pair(request, translation))
            else:
                texts["translations"].append(render(translation, number, form, job.alignment == "beside", extra))
            best = translation.candidates[0] if translation.candidates else None
            if job.alignment == "apart":
                texts["alignment"].append(format_links(best.alignment if best else None) + "\n")
            if job.attention:
                texts["attention"].append(json_text(attention_json(best.attention if best else None, number)) + "\n")
            if number <= job.heat_maps and best is not None and best.attention is not None:
                reference = (extra or {}).get("reference")
                maps[number] = replace(best.attention, reference=reference if isinstance(reference, str) else "")
            if translation.treatment is not None:
                report.note(translation.treatment, place)
            for problem in translation.problems:
                report.note(problem, place)
        written = {name: "".join(lines).encode("utf-8", "replace") for name, lines in texts.items()}
        return TranslatedWindow(len(window.places), window.end, written, maps, report)


Windows: TypeAlias = Iterable[Window] | Iterable[SegmentWindow]
TranslateWindows = Callable[[Windows], Iterator[TranslatedWindow]]


@contextmanager
def window_translator(
    job: Job,
    processes: int | None = None,
    devices: Sequence[str] = (),
    make_workers: Callable[[], Workers] | None = None,
) -> Iterator[TranslateWindows]:
    """A function that translates windows, in order, with a few windows per worker in memory; files share it.

    `processes` are workers with one thread each; `devices` have one worker each; `make_workers` makes those of a
    cluster; without any, this process uses all threads. Models are opened at its first call. It raises ResourceError if
    a worker of this machine dies, or several of a cluster at one window.
    """
    if make_workers is None:
        count = len(devices) or processes or 1
        warm_up(count, preload=__name__)  # first, so that the process of the queue handles no signals
        make_workers = partial(_local_workers, job, count, devices, 1 if devices or processes else None)
    with ExitStack() as stack:
        opened: list[Workers] = []

        def translate(windows: Windows) -> Iterator[TranslatedWindow]:
            if not opened:
                opened.append(stack.enter_context(make_workers()))
            return opened[0].map(windows)

        yield translate


def translate_windows(
    job: Job, windows: Windows, processes: int | None = None, devices: Sequence[str] = ()
) -> Iterator[TranslatedWindow]:
    """The translated windows; see `window_translator`."""
    with window_translator(job, processes, devices) as translate:
        yield from translate(windows)


def _local_workers(job: Job, count: int, devices: Sequence[str], threads: int | None) -> Workers:
    worker_devices: Any = get_context("spawn").SimpleQueue() if count > 1 else SimpleQueue()
    for device in devices or [job.device] * count:
        worker_devices.put(device)
    return local_workers(count, partial(_make_worker, job, worker_devices, threads))


def _make_worker(job: Job, worker_devices: Any, threads: int | None) -> WindowTranslator:
    worker = WindowTranslator(replace(job, device=worker_devices.get(), threads=threads))
    if parent_process() is None:
        worker.open()  # other processes open it for the first window, when their errors are reported
    return worker


def _digest(value: Any) -> str:
    return checksum(repr(value).encode("utf-8", "replace")).hexdigest()


def digest_model(directory: Path) -> str:
    """Xxh3-128 of all files of a model that translations depend on, in hexadecimal."""
    return _digest(file_digests(directory, omitted=(STATE, TENSORS, CARD)))

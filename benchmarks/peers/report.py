"""The results of compare.py as Markdown."""

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools import BATCH_SENTENCES, BATCH_TOKENS, BEAM, LENGTH, MODELS

Record = dict[str, Any]
OURS, TRAINERS = "nmt", ("eole", "onmtpy", "joeynmt")
NAMES = {"nmt": "**nmt**", "eole": "Eole", "onmtpy": "OpenNMT-py", "joeynmt": "JoeyNMT", "ctranslate2": "CTranslate2"}


def report(
    records: Sequence[Record], failures: Mapping[str, str], versions: Mapping[str, str], options: Mapping[str, Any]
) -> str:
    """All tables. A failure is shown where nothing was measured in any round."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["name"], []).append(record)
    parts = [head(records, versions, options)]
    for title, tabulate, what in (("Training", training, "train"), ("Translation", translation, "translate")):
        for model in MODELS:
            if any(of(groups, what, model)):
                parts += [f"### {title}, {model}", tabulate(groups, model)]
    if any(name.startswith("help ") for name in groups):
        parts += ["### Help", helps(groups)]
    lost = [f"- {name}: {words}" for name, words in failures.items() if name not in groups]
    return "\n\n".join(parts + (["Failed:", "\n".join(lost)] if lost else [])) + "\n"


def head(records: Sequence[Record], versions: Mapping[str, str], options: Mapping[str, Any]) -> str:
    """Date, machine and versions."""
    days = sorted({time.strftime("%F", time.gmtime(record["when"])) for record in records}) or ["nothing measured"]
    shared = statistics.fmean(record["foreign"] for record in records) if records else 0
    return (
        f"{' to '.join(dict.fromkeys((days[0], days[-1])))}, {processor()}, threads: {options['threads']},"
        f" OMP_WAIT_POLICY PASSIVE; other programs used {shared:.2f} cores in the mean. {'; '.join(versions.values())}."
        f" Training: batches of {BATCH_TOKENS:,} tokens, padding counted; target tokens without padding. Translation:"
        f" {BATCH_SENTENCES} sentences at a time, beam {BEAM}, every translation {LENGTH} pieces long. Median"
        f" [lowest–highest] of {options['rounds']} rounds."
    )


def processor() -> str:
    """The processor in the machine's own words, its cores, and what it has for narrow numbers."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    known = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8")
    flags = [flag for flag in known if flag in fields.get("flags", "").split()]
    cores = sum(line.startswith("processor") for line in lines)
    return f"{fields.get('model name', 'unknown CPU')}, {cores} cores ({', '.join(flags)})"


def training(groups: Mapping[str, list[Record]], model: str) -> str:
    """Tokens a second, of all windows of all rounds."""
    columns = ["tool", "arithmetic", "target tokens/s", "per CPU second", "÷ best peer", "÷ best peer, per CPU second"]
    rates: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    rest = {}
    for (tool, kind), found in of(groups, "train", model):
        windows = [window for record in found for window in record["windows"]]
        rates[tool, kind] = (
            [window["tokens"] / window["seconds"] for window in windows],
            [window["tokens"] / window["cpu"] for window in windows],
        )
        foreign = statistics.median(window["foreign"] for window in windows)
        rest[tool, kind] = [megabytes(found), f"{foreign:.2f}"]
    rows = [
        [NAMES[tool], kind, spread(wall), spread(cpu), *ratios(rates, (tool, kind)), *rest[tool, kind]]
        for (tool, kind), (wall, cpu) in rates.items()
    ]
    return table([*columns, "peak memory, MiB", "others' cores"], rows)


def translation(groups: Mapping[str, list[Record]], model: str) -> str:
    """Sentences a second, start-up taken off, and whole processes."""
    columns = [
        "tool",
        "arithmetic",
        "sentences/s",
        "per CPU second",
        "÷ best peer",
        "÷ best peer, per CPU second",
        "start, s",
    ]
    rates: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    rest = {}
    for (tool, kind), found in of(groups, "translate", model):
        starts = groups.get(f"start {tool} {model} {kind}")
        if not starts:  # not measured, or failed
            continue
        first, first_cpu = (statistics.median(start[key] for start in starts) for key in ("seconds", "cpu"))
        rates[tool, kind] = (
            [(one["sentences"] - 1) / max(0.01, one["seconds"] - first) for one in found],
            [(one["sentences"] - 1) / max(0.01, one["cpu"] - first_cpu) for one in found],
        )
        whole = [spread([one[key] for one in found], 1) for key in ("seconds", "cpu")]
        foreign = statistics.median(one["foreign"] for one in found)
        rest[tool, kind] = [f"{first:.1f}", *whole, f"{found[0]['sentences']}", megabytes(found), f"{foreign:.2f}"]
    rows = [
        [NAMES[tool], kind, spread(wall), spread(cpu), *ratios(rates, (tool, kind)), *rest[tool, kind]]
        for (tool, kind), (wall, cpu) in rates.items()
    ]
    last = ["whole process, s", "whole process, CPU s", "sentences", "peak memory, MiB", "others' cores"]
    return table([*columns, *last], rows)


def helps(groups: Mapping[str, list[Record]]) -> str:
    """Time of each --help."""
    rows = []
    for name, found in groups.items():
        if name.startswith("help "):
            words = name.split(" ", 2)[2].split(" ")
            words = ["nmt" if word == "nmtcli" else Path(word).name for word in words if word != "-m"]
            words = words[1:] if words[0].startswith("python") else words
            cells = [spread([one[key] for one in found], 2) for key in ("seconds", "cpu")]
            rows.append([f"`{' '.join(words)}`", *cells, megabytes(found)])
    return table(["command", "s", "CPU s", "peak memory, MiB"], rows)


def of(groups: Mapping[str, list[Record]], what: str, model: str) -> Iterable[tuple[tuple[str, str], list[Record]]]:
    """Tool and kind, and what was measured of them, in the order of the first round."""
    for name, found in groups.items():
        parts = name.split(" ", 3)
        if parts[0] == what and parts[2] == model:
            yield (parts[1], parts[3]), found


def ratios(rates: Mapping[tuple[str, str], tuple[list[float], list[float]]], which: tuple[str, str]) -> list[str]:
    """Medians by that of the best of the peers that train: by the clock and by CPU time."""
    cells = []
    for place in (0, 1):
        peers = [statistics.median(rate[place]) for (tool, _), rate in rates.items() if tool in TRAINERS]
        cells.append(f"{statistics.median(rates[which][place]) / max(peers):.2f}" if peers else "")
    return cells


def spread(values: Sequence[float], digits: int | None = None) -> str:
    """Median and range: three figures, or so many digits."""
    middle = statistics.median(values)
    if digits is None:
        digits = 0 if middle >= 100 else 1
    return f"{middle:,.{digits}f} [{min(values):,.{digits}f}–{max(values):,.{digits}f}]"


def megabytes(found: Sequence[Record]) -> str:
    """The most memory of a process, of all rounds."""
    return f"{max(one['memory'] for one in found) / 2**20:,.0f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first two columns are text."""
    lines = [columns, ["---" if number < 2 else "---:" for number, _ in enumerate(columns)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

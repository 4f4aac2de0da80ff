"""Does bf16 learn as well as fp32? The same model, data, seed and updates in both, and their validation curves.

    python benchmarks/precision_curves.py DATA WORK [--updates N] [--valid-every N] [--together]
                                          [--test-source FILE --test-target FILE]

DATA is made by nmt prepare. Trains the default model (luong-general) by `nmt train` into WORK/fp32 and WORK/bf16, one
after the other or at the same time, each with `--threads`; a run that is finished is not trained again, one that was
interrupted goes on. Draws validation loss and BLEU against updates to WORK/precision.png and prints a Markdown table.
Given a test set, it is translated from each last checkpoint, and the table has its sacreBLEU too.
"""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import WHOLE, Record, events, last_words, machine, measured, row, start_training

from nmtcli.checkpoint import RunDirectory
from nmtcli.metrics.scores import score_corpus
from nmtcli.metrics.texts import read_text
from nmtcli.models.device import open_device
from nmtcli.settings import presets

PRECISIONS = {"fp32": "#0072b2", "bf16": "#d55e00"}  # Okabe and Ito's blue and vermilion
FIGURE = "precision.png"


@dataclass(frozen=True)
class Curve:
    """One finished run."""

    precision: str
    figures: Record  # updates, target tokens, seconds, parameters
    validated: list[Record]
    test: tuple[float, str] | None  # BLEU and its signature

    def values(self, metric: str) -> list[float]:
        """A metric at each validation."""
        return [event[metric] for event in self.validated]


def settings(options: argparse.Namespace, precision: str) -> list[str]:
    """Overrides of one run; both have the same but for the arithmetic."""
    train = {
        "precision": precision,
        "max_updates": options.updates,
        "valid_every": options.valid_every,
        "threads": options.threads,
        "seed": options.seed,
    }
    return [*(f"train.{key}={value}" for key, value in train.items()), *WHOLE, *options.set]


def train(options: argparse.Namespace) -> None:
    """Train both; `nmt train` ends at once where a run is finished, and refuses one of other settings.

    Raises SystemExit where a run fails.
    """
    going = {}
    for precision in PRECISIONS:
        run = options.work / precision
        print(f"{precision}: training in {run} …", file=sys.stderr, flush=True)
        arguments = ["--preset", options.preset, "--device", options.device]
        going[run] = start_training(options.data, run, settings(options, precision), *arguments)
        if not options.together:
            going[run].wait()
    failed = [run for run, process in going.items() if process.wait()]
    if failed:
        raise SystemExit("\n".join(f"{run}: {last_words(run)}" for run in failed))


def translated(options: argparse.Namespace, run: Path) -> tuple[float, str] | None:
    """BLEU of the test set, translated from the last checkpoint, and its signature; None without a test set."""
    if options.test_source is None:
        return None
    last = RunDirectory(run).pointer("last")
    assert last is not None
    output = run.with_name(f"{run.name}.txt")
    command = [sys.executable, "-m", "nmtcli", "translate", "-m", last, "-i", options.test_source, "-o", output]
    subprocess.run([*map(str, command), "--device", options.device], check=True)
    (score,) = score_corpus(read_text(output).lines, [read_text(options.test_target).lines], ["bleu"])
    return score.value, f"{score.name}|{score.signature}"


def read_curve(options: argparse.Namespace, precision: str) -> Curve:
    """A finished run."""
    run = options.work / precision
    validated = [event for event in events(run) if event["event"] == "validated"]
    return Curve(precision, measured(run), validated, translated(options, run))


HEAD = (
    *("precision", "target tokens/s", "minutes", "last validation loss", "last validation BLEU"),
    *("best validation BLEU", "test BLEU"),
)


def table(curves: list[Curve]) -> str:
    """Both runs and their difference as a Markdown table."""
    rows = [figures(curve) for curve in curves]
    lines = [row(HEAD), "|---|" + "---:|" * (len(HEAD) - 1)]
    formats = ("{:,.0f}", "{:.1f}", "{:.3f}", "{:.2f}", "{:.2f}", "{:.2f}")
    for curve, values in zip(curves, rows, strict=True):
        cells = (form.format(value) if value is not None else "" for form, value in zip(formats, values, strict=True))
        lines.append(row([curve.precision, *cells]))
    cells = ["bf16 against fp32"]
    for place, (before, after) in enumerate(zip(*rows, strict=True)):
        if before is None or after is None:
            cells.append("")
        else:
            cells.append(f"× {after / before:.2f}" if place < 2 else f"{after - before:+.3f}")
    return "\n".join([*lines, row(cells)])


def figures(curve: Curve) -> list[float | None]:
    """The columns of a run after its name."""
    loss, bleu = curve.values("loss"), curve.values("bleu")
    speed, minutes = curve.figures["tokens_per_second"], curve.figures["seconds"] / 60
    return [speed, minutes, loss[-1], bleu[-1], max(bleu), curve.test[0] if curve.test else None]


def notes(first: Curve, options: argparse.Namespace) -> list[str]:
    """How it was measured, a line each; both runs are alike in it."""
    size, pairs, updates, tokens = (first.figures[key] for key in ("parameters", "pairs", "updates", "target_tokens"))
    order = "at the same time" if options.together else "one after the other"
    lines = [
        f"{options.preset}, {size:,} parameters, {pairs:,} pairs, {updates:,} updates, {tokens / 1e6:.2f} M target"
        f" tokens, seed {options.seed}, {order}; {machine(options.threads, open_device(options.device))}.",
        f"Settings of both: `{' '.join(settings(options, '…'))}`.",
    ]
    return [*lines, *([f"`{first.test[1]}`"] if first.test else [])]


def draw(curves: list[Curve], path: Path) -> None:
    """Validation loss and BLEU against updates."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra, and slow to import

    plt.switch_backend("agg")
    plt.rcParams |= {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 144}
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3))
    for panel, (metric, name) in zip(axes, (("loss", "validation loss"), ("bleu", "validation BLEU")), strict=True):
        for curve, (marker, style) in zip(curves, (("o", "-"), ("^", "--")), strict=True):
            draw_line(panel, curve, metric, marker=marker, linestyle=style)
        panel.set(xlabel="updates", ylabel=name)
        panel.grid(axis="y", color="#ececec")
        panel.set_axisbelow(True)
    axes[0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, facecolor="white")
    plt.close(figure)


def draw_line(panel: Any, curve: Curve, metric: str, **style: str) -> None:
    """One metric of one run."""
    colour = PRECISIONS[curve.precision]
    panel.plot(
        curve.values("step"),
        curve.values(metric),
        color=colour,
        markersize=4,
        linewidth=1.6,
        label=curve.precision,
        **style,
    )


def main() -> None:
    """Train what is missing, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--preset", default="luong-general", choices=presets())
    parser.add_argument("--updates", type=int, default=5000)
    parser.add_argument("--valid-every", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1, help="of each run")
    parser.add_argument("--together", action="store_true", help="train both at the same time")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="more settings of both runs")
    parser.add_argument("--test-source", type=Path)
    parser.add_argument("--test-target", type=Path)
    options = parser.parse_args()
    if (options.test_source is None) != (options.test_target is None):
        parser.error("--test-source and --test-target go together")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    train(options)
    curves = [read_curve(options, precision) for precision in PRECISIONS]
    draw(curves, options.work / FIGURE)
    print("\n".join([table(curves), "", *notes(curves[0], options)]))


if __name__ == "__main__":
    main()

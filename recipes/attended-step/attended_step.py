"""Does attention find the one time step that decides? Four small classifiers on a made-up task.

A series has STEPS steps of FEATURES random numbers. Its label is whether the numbers of one step, the same in every
series, have a positive sum; all other steps are noise. Nobody tells the classifiers which step it is. Each is an LSTM
with attention

  before it   on the series: every value is multiplied by its weight, then the LSTM reads the series
  after it    on the LSTM's states: their weighted mean is classified; the last state is the query

and with weights

  shared        one for each time step
  per feature   one for each time step and feature: after the LSTM, the features are the LSTM's units

    python recipes/attended-step/attended_step.py PICTURE.png [--step 12] [--seed 1] [--check]

prints a table of what the weights say and draws them. With --check it exits with 5 where an accuracy is below
expected.json, or attention before the LSTM is heaviest on another step.
Attention is that of the toolkit: `nmtcli.models.attention`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor, nn

from nmtcli.config import AttentionConfig
from nmtcli.models.attention import Attention

STEPS, FEATURES, UNITS, WIDTH = 20, 4, 16, 16
BATCH, UPDATES, LEARNING_RATE, TEST = 64, 1500, 5e-3, 2000
EXPECTED, FAILED = Path(__file__).parent / "expected.json", 5
DECIDES, OTHERS = "#d55e00", "#56b4e9"  # safe for colour-blind readers
PLACES, WEIGHTS = ("before", "after"), ("shared", "per feature")


def draw_series(count: int, step: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Series [N, T, D] and labels [N]; `step` counts from 0."""
    series = torch.randn(count, STEPS, FEATURES, generator=random)
    return series, (series[:, step].sum(dim=1) > 0).float()


class StepWeights(nn.Module):
    """Attention weights over time: one attention for whole rows (shared), or one for each feature.

    Random numbers look alike everywhere, so a learned vector for each position stands beside them.
    """

    def __init__(self, features: int, query_size: int, shared: bool) -> None:
        super().__init__()
        self.shared = shared
        self.positions = nn.Parameter(torch.randn(STEPS, WIDTH))
        config = AttentionConfig(type="additive", hidden_size=WIDTH)
        size = WIDTH + (features if shared else 1)
        count = 1 if shared else features
        self.attentions = nn.ModuleList(Attention(config, size, query_size) for _ in range(count))

    def forward(self, query: Tensor, rows: Tensor) -> Tensor:
        """Query [B, Q] and rows [B, T, F] to weights [B, T, F], or [B, T, 1] where they are shared."""
        positions = self.positions.expand(len(rows), -1, -1)  # [B, T, P]
        mask = torch.ones(rows.shape[:2], dtype=torch.bool)
        parts = [rows] if self.shared else rows.split(1, dim=-1)
        weights = []
        for attention, part in zip(self.attentions, parts, strict=True):
            source = attention.source(torch.cat([part, positions], dim=-1), mask)
            weights.append(attention(query[:, None], source)[1][:, 0])  # [B, T]
        return torch.stack(weights, dim=-1)


class Classifier(nn.Module):
    """An LSTM with attention before or after it."""

    def __init__(self, place: str, weights: str) -> None:
        super().__init__()
        self.before = place == "before"
        self.lstm = nn.LSTM(FEATURES, UNITS, batch_first=True)
        self.weights = StepWeights(FEATURES if self.before else UNITS, UNITS, weights == "shared")
        self.query = nn.Parameter(torch.randn(UNITS))  # before the LSTM there is no state to use as a query
        self.classify = nn.Linear(UNITS, 1)

    def forward(self, series: Tensor) -> tuple[Tensor, Tensor]:
        """Series [B, T, D] to scores [B], positive for label 1, and weights [B, T, F]."""
        if self.before:
            weights = self.weights(self.query.expand(len(series), -1), series)
            states, _ = self.lstm(series * weights * STEPS)  # equal weights leave the series as it is
            summary = states[:, -1]
        else:
            states, _ = self.lstm(series)  # [B, T, U]
            weights = self.weights(states[:, -1], states)
            summary = (states * weights).sum(dim=1)
        return self.classify(summary)[:, 0], weights


@dataclass(frozen=True)
class Finding:
    """The result of one classifier; weights [T, F] are means over the test series."""

    place: str
    kind: str
    accuracy: float
    weights: Tensor

    @property
    def row(self) -> str:
        """The row of expected.json."""
        return f"{self.place} {self.kind}"

    @property
    def over_time(self) -> Tensor:
        """The mean of the features' weights, [T]."""
        return self.weights.mean(dim=1)

    @property
    def heaviest(self) -> int:
        """The step with the largest of these, counted from 0."""
        return int(self.over_time.argmax())


def train(place: str, kind: str, step: int, seed: int, updates: int = UPDATES) -> Finding:
    """Train one classifier on new series at each step and return its weights on test series."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    model = Classifier(place, kind)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    for _ in range(updates):
        series, labels = draw_series(BATCH, step, random)
        loss = nn.functional.binary_cross_entropy_with_logits(model(series)[0], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    series, labels = draw_series(TEST, step, random)
    with torch.no_grad():
        scores, weights = model(series)
    accuracy = ((scores > 0) == (labels > 0)).float().mean().item()
    return Finding(place, kind, accuracy, weights.mean(dim=0))


def table(findings: list[Finding], step: int) -> Iterator[str]:
    """The table of results; steps count from 1."""
    yield f"step {step + 1} of {STEPS} decides; equal weights would be {1 / STEPS:.2f}"
    yield f"{'attention':<10} {'weights':<12} {'accuracy':>8} {'weight there':>13} {'heaviest step':>14}"
    for one in findings:
        right = "right" if one.heaviest == step else "wrong"
        yield (
            f"{one.place:<10} {one.kind:<12} {one.accuracy:>8.1%} {one.over_time[step]:>13.2f}"
            f" {f'{one.heaviest + 1} ({right})':>14}"
        )


def signature() -> str:
    """How an accuracy was measured; figures of different signatures are not compared."""
    return f"accuracy|test:{TEST}|steps:{STEPS}|features:{FEATURES}|updates:{UPDATES}"


def shortfalls(findings: list[Finding], step: int, expected: dict[str, list[dict]]) -> list[str]:
    """Failed checks; after the LSTM, attention may peak at a later step, see README.md."""
    found = []
    for one in findings:
        name = f"attention {one.place} the LSTM, {one.kind}"
        for figure in expected[one.row]:
            if figure["signature"] != signature():
                found.append(f"{name}: another signature than {figure['signature']}: {signature()}")
            elif 100 * one.accuracy < figure["score"] - figure["tolerance"]:
                limit = f"{figure['score']} - {figure['tolerance']} ({figure['source']})"
                found.append(f"{name}: accuracy {one.accuracy:.1%}, expected {limit}")
        if one.place == "before" and one.heaviest != step:
            found.append(f"{name}: heaviest on step {one.heaviest + 1}, expected {step + 1}")
    return found


def draw(findings: list[Finding], step: int, path: Path) -> None:
    """A panel each: bars are the weights over time; where every feature has its own, dots are these."""
    figure = Figure(figsize=(9, 5.2), dpi=144, layout="constrained")
    panels = figure.subplots(len(PLACES), len(WEIGHTS), sharex=True, sharey=True)
    steps = range(1, STEPS + 1)
    for panel, one in zip(panels.flat, findings, strict=True):
        panel.bar(steps, one.over_time.tolist(), color=[DECIDES if at == step + 1 else OTHERS for at in steps])
        if one.weights.size(1) > 1:
            for weights in one.weights.T:
                panel.plot(steps, weights.tolist(), ".", color="black", alpha=0.6, markersize=6, markeredgewidth=0)
        panel.set_title(f"{one.place} the LSTM, {one.kind}: accuracy {one.accuracy:.1%}", fontsize=10)
        panel.set(xticks=[1, 5, 10, 15, 20], ylim=(0, 1.05))
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[-1]:
        panel.set_xlabel("time step")
    for panel in panels[:, 0]:
        panel.set_ylabel("mean weight")
    figure.suptitle(f"Step {step + 1} alone decides (orange); dots are single features or units", fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train four classifiers and draw what they attend to.")
    parser.add_argument("picture", type=Path, metavar="PICTURE.png")
    parser.add_argument("--step", type=int, default=12, help=f"the step that decides, 1 to {STEPS} (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="exit with 5 where the table is not as it should be")
    options = parser.parse_args()
    if not 1 <= options.step <= STEPS:
        parser.error(f"--step must be 1 to {STEPS}")
    torch.set_num_threads(1)
    findings = [train(place, kind, options.step - 1, options.seed) for place, kind in product(PLACES, WEIGHTS)]
    print("\n".join(table(findings, options.step - 1)))
    draw(findings, options.step - 1, options.picture)
    if options.check and (found := shortfalls(findings, options.step - 1, json.loads(EXPECTED.read_text("utf-8")))):
        print("\n".join(found), file=sys.stderr)
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main()

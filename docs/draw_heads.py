"""Draws every head of a Transformer's attention to the source: `python docs/draw_heads.py MODEL SENTENCE OUTPUT.png`.

A row of maps for each decoder layer, a column for each head. Greedy search, so that a step is one hypothesis.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

from nmtcli import Translator
from nmtcli.models.multihead import CrossAttention, plain_attention
from nmtcli.translate.alignment import labels


def main() -> None:
    model, sentence, output = sys.argv[1:]
    seen: dict[CrossAttention, list[torch.Tensor]] = {}  # by layer, in the order they are called: [A, S] a position

    def keep(module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(module, CrossAttention):
            inputs, keys, values, mask = given[:4]
            query = module.query(inputs).unflatten(-1, (module.heads, -1)).transpose(1, 2)
            seen.setdefault(module, []).append(plain_attention(query, keys, values, mask)[1][0, :, 0])

    torch.nn.modules.module.register_module_forward_pre_hook(keep)
    (translation,) = Translator.load(model, "cpu", beam_size=1).translate([sentence], attention=True)
    one = translation.candidates[0].attention
    assert one is not None
    maps = torch.stack([torch.stack(steps) for steps in seen.values()]).numpy()  # [layers, T, A, S]
    rows, columns = maps.shape[0], maps.shape[2]
    source, target = labels(one.source), labels(one.target)
    figure = Figure(figsize=(1 + 0.2 * len(source) * columns, 1 + (0.2 * len(target) + 0.4) * rows), dpi=110)
    for row in range(rows):
        for column in range(columns):
            axes = figure.add_subplot(rows, columns, row * columns + column + 1)
            axes.imshow(maps[row, : len(target), column], cmap="Blues", vmin=0, vmax=1, aspect="equal")
            axes.set_xticks(range(len(source)), source if row == 0 else [], rotation=90, fontsize=8)
            axes.set_yticks(range(len(target)), target if column == 0 else [], fontsize=8)
            axes.xaxis.tick_top()
            axes.tick_params(length=0)
            axes.set_xlabel(f"layer {row + 1}, head {column + 1}", fontsize=8)
    figure.tight_layout()
    figure.savefig(Path(output))


if __name__ == "__main__":
    main()

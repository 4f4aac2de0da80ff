"""Attention heat maps of characters, for a terminal."""

from rich.cells import cell_len, set_cell_size

from nmtcli.translate.alignment import AttentionMap, labels

_SHADES = " ░▒▓█"
_LONGEST = 14  # maximum characters of a source label, which is vertical
_WIDEST = 24  # maximum cells of a target label


def terminal_map(one: AttentionMap, width: int) -> str:
    """A heat map with a row for each target piece and a column of two cells for each source piece.

    If it is wider than `width` cells, a message instead.
    """
    target = [label if cell_len(label) <= _WIDEST else set_cell_size(label, _WIDEST) for label in labels(one.target)]
    left = max(map(cell_len, target), default=0) + 1
    if left + 2 * len(one.source) > width:
        return f"{len(one.source)} source pieces do not fit in {width} columns; use --attention FILE.html\n"
    source = [label[:_LONGEST] for label in labels(one.source)]
    height = max(map(len, source), default=0)
    lines = [
        " " * left + "".join(_cell(label, row - (height - len(label))) for label in source).rstrip()
        for row in range(height)
    ]
    for label, weights in zip(target, one.weights.tolist(), strict=True):
        shades = (_SHADES[min(len(_SHADES) - 1, round(weight * (len(_SHADES) - 1)))] for weight in weights)
        lines.append(" " * (left - 1 - cell_len(label)) + label + " " + "".join(2 * shade for shade in shades).rstrip())
    return "\n".join(lines) + "\n"


def _cell(label: str, at: int) -> str:
    return set_cell_size(label[at] if at >= 0 else "", 2)

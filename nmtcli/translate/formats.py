"""Output formats: text, tab-separated, JSON lines, Moses n-best lists; alignments in Pharaoh format."""

from collections.abc import Mapping
from typing import Any, Literal

from nmtcli import strict_json
from nmtcli.metrics.alignment import format_links
from nmtcli.translate.alignment import AttentionMap
from nmtcli.translate.translation import Candidate, Translation

Format = Literal["text", "tsv", "jsonl", "moses", "tmx", "document"]
COLLECTED: tuple[Format, ...] = ("tmx", "document")  # written as a whole when all lines are translated

# line ends for many programs, though not in JSON
_ESCAPED = {code: f"\\u{code:04x}" for code in (0x7F, 0x85, 0x2028, 0x2029)}


def render(
    translation: Translation, line: int, form: Format, alignment: bool = False, extra: Mapping[str, Any] | None = None
) -> str:
    """The output of input line number `line` (from 1), with LF.

    text: the translation. tsv: a row `line, score, log-probability, translation` for each candidate, or one with empty
    columns for a line without candidates. jsonl: an object per line, with the keys of `extra`; keys that conflict are
    in `input`. moses: `line ||| translation ||| LogProb= … ||| score` for each candidate, lines from 0. `alignment`
    adds a column or field.
    """
    if form == "text":
        return one_line(translation.text) + "\n"
    if form == "jsonl":
        return _json_line(translation, line, alignment, extra or {})
    if form == "tsv":
        rows = [
            [f"{c.score:.6f}", f"{c.log_prob:.6f}", _cell(c.text), *_links(c, alignment)]
            for c in translation.candidates
        ]
        return "".join("\t".join([str(line), *row]) + "\n" for row in rows or [[""] * (3 + alignment)])
    fields = [
        [_field(c.text), f"LogProb= {c.log_prob:.6f}", f"{c.score:.6f}", *_links(c, alignment)]
        for c in translation.candidates or (Candidate("", 0.0, 0.0),)
    ]
    return "".join(" ||| ".join([str(line - 1), *row]) + "\n" for row in fields)


def attention_json(attention: AttentionMap | None, line: int) -> dict[str, Any]:
    """The attention weights of one line: `weights[t][s]` of source piece s for target piece t; `attention` is the
    layer and head.
    """
    if attention is None:
        return {"line": line, "attention": "", "source": [], "target": [], "weights": []}
    weights = [[round(weight, 4) for weight in row] for row in attention.weights.tolist()]
    sides = {"source": attention.source, "target": attention.target}
    return {"line": line, "attention": attention.of, **sides, "weights": weights}


def json_text(record: Any) -> str:
    """JSON without characters that some programs treat as line ends."""
    return strict_json.dumps(record).translate(_ESCAPED)


def one_line(text: str) -> str:
    """Text with spaces for all characters that some programs treat as line ends."""
    return " ".join(text.splitlines())


# of a JSON line; input keys of these names are not the output's
_KEYS = {"line", "source", "translation", "candidates", "long_line", "problems", "violations"}


def _json_line(translation: Translation, line: int, alignment: bool, extra: Mapping[str, Any]) -> str:
    candidates: list[dict[str, Any]] = []
    for candidate in translation.candidates:
        values: dict[str, Any] = {"text": candidate.text, "score": candidate.score, "log_prob": candidate.log_prob}
        if candidate.tokens is not None:
            values["tokens"] = [[piece, round(log_prob, 4)] for piece, log_prob in candidate.tokens]
        candidates.append(values | ({"alignment": format_links(candidate.alignment)} if alignment else {}))
    record = {"line": line, "source": translation.source, "translation": translation.text, "candidates": candidates}
    if translation.treatment is not None:
        record["long_line"] = translation.treatment
    if translation.problems:
        record["problems"] = list(translation.problems)
    if translation.violations:
        record["violations"] = [{"kind": one.kind, "text": one.text} for one in translation.violations]
    conflicting = {key: value for key, value in extra.items() if key in _KEYS or key == "input"}
    if conflicting.keys() & _KEYS:
        record["input"] = conflicting
    kept = {key: value for key, value in extra.items() if key not in record and key not in _KEYS}
    return json_text({**record, **kept}) + "\n"


def _links(candidate: Candidate, alignment: bool) -> list[str]:
    return [format_links(candidate.alignment)] if alignment else []


def _cell(text: str) -> str:
    return one_line(text).replace("\t", " ")


def _field(text: str) -> str:
    return one_line(text).replace("|||", "&#124;&#124;&#124;")

"""Results of recipes, written down: `python collect.py [RESULT.json …]`.

`make check` writes work/result*.json. This adds them (all that lie in recipes/*/work, unless some are given) to
docs/results/recipes.jsonl, a line for each recipe, row, seed, hardware and number of updates, and writes the table of
docs/results/quality.md between the lines <!-- recipes --> anew: newest figures of a row, with the mean and the spread
of its seeds.
"""

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORD, PAGE = ROOT / "docs" / "results" / "recipes.jsonl", ROOT / "docs" / "results" / "quality.md"
MARK = "<!-- recipes -->\n"
HEAD = """| recipe | date, commit | hardware | model | training | seeds | score | signature |
|---|---|---|---|---|---|---|---|
"""


def identity(result: dict) -> tuple:
    """The key of a run."""
    return (*place(result), (result["training"] or {}).get("seed"))


def place(result: dict) -> tuple:
    """The key of runs that differ in their seed only."""
    return result["recipe"], result["row"], result["hardware"], (result["training"] or {}).get("scheduled")


def add(record: Path, results: list[dict]) -> list[dict]:
    """All results, old and new, by recipe; a new result of the same run replaces the old one."""
    old = [json.loads(line) for line in record.read_text("utf-8").splitlines()] if record.exists() else []
    runs = {identity(result): result for result in [*old, *results]}
    ordered = sorted(runs.values(), key=lambda result: tuple(map(str, identity(result))))
    record.write_text("".join(json.dumps(result) + "\n" for result in ordered), "utf-8")
    return ordered


def table(results: list[dict]) -> str:
    """A Markdown table with a line for each figure of each row."""
    rows = defaultdict(list)
    for result in results:
        rows[place(result)].append(result)
    lines = []
    for seeds in rows.values():
        last = max(seeds, key=lambda result: result["date"])
        training = last["training"] or {}
        seconds = [result["training"]["seconds"] for result in seeds if result["training"]]
        done = " and ".join(sorted({f"{result['training']['updates']:,}" for result in seeds if result["training"]}))
        updates = f"{done} of {training['scheduled']:,} updates" if training else ""
        for figure in last["figures"]:
            signature = figure["signature"]
            scores = [one["score"] for result in seeds for one in result["figures"] if one["signature"] == signature]
            shown = f"{scores[0]:.2f}"
            if len(scores) > 1:
                each = ", ".join(f"{score:.2f}" for score in scores)
                shown = f"{statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f} ({each})"
            cells = [
                f"{last['recipe']} {last['row']}".strip(),
                f"{last['date']}, {last['commit']}",
                last["hardware"],
                f"{training['parameters']:,} parameters, {updates}" if training else "",
                f"{statistics.mean(seconds) / 60:.1f} min, {training['precision']}" if training else "",
                ", ".join(str((result["training"] or {}).get("seed", "")) for result in seeds),
                shown,
                f"`{figure['signature']}`".replace("|", "\\|"),
            ]
            lines.append("| " + " | ".join(cells) + " |\n")
    versions = {f"torch {result['training']['torch']}" for result in results if result["training"]}
    versions |= {f"sacreBLEU {result['sacrebleu']}" for result in results}
    return f"{HEAD}{''.join(lines)}\nWith {', '.join(sorted(versions))}. ± is the standard deviation over seeds.\n"


def write(page: Path, text: str) -> None:
    """Replace the text between the marks of a page."""
    before, _, after = page.read_text("utf-8").split(MARK)
    page.write_text(f"{before}{MARK}\n{text}\n{MARK}{after}", "utf-8")


if __name__ == "__main__":
    files = [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "recipes").glob("*/work/**/result*.json"))
    write(PAGE, table(add(RECORD, [json.loads(file.read_text("utf-8")) for file in files])))
    print(f"{RECORD} and {PAGE}: {len(files)} results read")

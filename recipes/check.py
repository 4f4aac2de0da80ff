"""Is a recipe's score what it should be? `python check.py expected.json HYPOTHESIS REFERENCE [options]`.

`expected.json` has a list of figures for each row of the recipe (a variant, a search; "" where there is one only):

    {"transformer": [{"metric": "bleu", "lowercase": true, "tokenize": "13a", "score": 41.0, "tolerance": 0.6,
                      "signature": "BLEU|nrefs:1|case:lc|eff:no|tok:13a|smooth:exp", "source": "Wu et al. 2021"}]}

Each figure is computed its own way and printed with its signature; figures of different signatures are never compared.
`tokenize` may be "compounds": 13a, then words parted at hyphens, as the Transformer paper's BLEU of English-German is.
The version of sacreBLEU is no part of the signature that is compared. Exits with 5 where a score is lower than `score`
less `tolerance`, or its signature another one. A row without figures is not measured yet: it fails, and tells BLEU.

    --row NAME     row of expected.json     --run RUN   what was trained: its settings and times go into the result
    -o FILE.json   where the result is written, for collect.py     --label WORDS   what sets it apart from other results
    --hardware WORDS   where this is another machine
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import yaml

from nmtcli.metrics.scores import Variant, score_corpus

FAILED = 5
NOTHING = {"metric": "bleu"}  # the metric if expected.json has none yet


def lines(path: Path) -> list[str]:
    """Lines of a text; only LF ends one."""
    return path.read_text("utf-8").removesuffix("\n").split("\n")


def parted(texts: list[str]) -> list[str]:
    """Tokenised by 13a, with words split at hyphens."""
    tokenize = Variant(tokenize="13a").bleu().tokenizer
    return [re.sub(r"(?<=\S)-(?=\S)", " ##AT##-##AT## ", tokenize(text)) for text in texts]


def measure(figure: dict, hypotheses: list[str], references: list[str]) -> tuple[float, str]:
    """Score and signature (without the version) of a figure of expected.json."""
    tokenizer = figure.get("tokenize")
    if tokenizer == "compounds":
        hypotheses, references, tokenizer = parted(hypotheses), parted(references), "none"
    variant = Variant(figure.get("lowercase", False), tokenizer)
    [score] = score_corpus(hypotheses, [references], [figure["metric"]], variant=variant)
    return score.value, f"{score.name}|" + re.sub(r"\|version:[^|]*", "", score.signature)


def training(run: Path) -> dict:
    """Facts of a run: parameters, updates, seconds without pauses, device, precision, seed."""
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    started = [event for event in events if event["event"] == "started"][-1]
    settings = yaml.safe_load((run / "config.yaml").read_text("utf-8"))
    return {
        "parameters": started["parameters"],
        "updates": events[-1]["step"],
        "scheduled": started["total"],
        "seconds": round(sum(clock(b) - clock(a) for a, b in pairwise(events) if b["event"] != "started")),
        "device": started["device"],
        "torch": started["torch"],
        "precision": started["precision"],
        "seed": settings["train"]["seed"],
    }


def clock(event: dict) -> float:
    return datetime.strptime(event["time"], "%Y-%m-%dT%H:%M:%S%z").timestamp()


def hardware(device: str) -> str:
    """The name of the processor."""
    if device.startswith("cuda"):
        import torch  # noqa: PLC0415 - takes seconds, and is needed here alone

        return torch.cuda.get_device_name() if torch.cuda.is_available() else "a GPU"
    try:
        [name] = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text("utf-8"), re.M)[:1]
    except (OSError, ValueError):
        name = platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def commit() -> str | None:
    """Commit of the working tree, with + for uncommitted changes."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare a recipe's score with expected.json.")
    parser.add_argument("expected", type=Path)
    parser.add_argument("hypothesis", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--row", default="")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--label", default="")
    parser.add_argument("--hardware")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    rows = json.loads(options.expected.read_text("utf-8"))
    if options.row not in rows:
        sys.exit(f"{options.expected} has no row {options.row!r}; it has {', '.join(map(repr, rows))}")
    hypotheses, references = lines(options.hypothesis), lines(options.reference)
    if len(hypotheses) != len(references):
        sys.exit(f"{options.hypothesis} has {len(hypotheses)} lines, {options.reference} {len(references)}")
    figures, well = [], True
    for figure in rows[options.row] or [NOTHING]:
        score, signature = measure(figure, hypotheses, references)
        if figure is NOTHING:
            sys.exit(f"{score:.2f} {signature}: {options.expected} has no score of the row {options.row!r} yet")
        least = figure["score"] - figure["tolerance"]
        same = signature == figure["signature"]
        passed = same and score >= least
        verdict = "ok" if passed else "too low" if same else f"another signature than {figure['signature']}"
        print(f"{score:6.2f}  expected {figure['score']} - {figure['tolerance']} ({figure['source']}): {verdict}")
        print(f"        {signature}")
        figures.append(
            {"score": round(score, 4), "signature": signature, "expected": figure["score"], "passed": passed}
        )
        well &= passed
    if options.output:
        row = f"{options.row} {options.label}".strip()
        result = {"recipe": options.expected.resolve().parent.name, "row": row, "figures": figures}
        result |= {"date": datetime.now().strftime("%Y-%m-%d"), "commit": commit()}
        result |= {"sacrebleu": version("sacrebleu")}
        result |= {"training": training(options.run) if options.run else None}
        result |= {"hardware": options.hardware or hardware((result["training"] or {}).get("device", "cpu"))}
        options.output.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return 0 if well else FAILED


if __name__ == "__main__":
    sys.exit(main())

"""Are the automatic settings good? Each corpus trained with no option, and with other learning rates.

    python benchmarks/defaults.py TEXTS WORK [--updates 1200] [--only CORPUS …] [--models MODEL …] [--rows ROW …]

TEXTS holds the corpora as `$NMT_DATA` does (multi30k, tatoeba-de-en, pydocs-ko-en); the phrasebook is generated. For
each corpus and model, rows of equal updates with equal batches, one thread each, seed 1, four validations:

- automatic: no other option;
- grid: other learning rates;
- recipe: the settings of the corpus's recipe, model and tokenizer included, where it has one for this kind of model.

`--models additive bahdanau unscaled` measures other models that could be the default one.

A row that is done is kept in WORK and not run again; one that was interrupted goes on. Prints a Markdown table with the
loss of the automatic row against the best of the others.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from training import machine

from nmtcli.train.run import settings_of

ROOT = Path(__file__).parent.parent
SIDES = ("train", "valid", "test")
TEST = 1_000  # lines translated, at most


@dataclass(frozen=True)
class Corpus:
    """Text of one language pair, whole or some pairs drawn of it."""

    name: str
    folder: str
    source: str
    target: str
    pairs: int | None = None
    recipes: dict[str, list[str]] = field(default_factory=dict)  # of a model, its settings files below recipes/


MULTI30K = {
    "default": ["multi30k/recipe.yaml", "multi30k/rnn.yaml"],
    "transformer-small": ["multi30k/recipe.yaml", "multi30k/transformer.yaml"],
}
CORPORA = [
    Corpus("multi30k", "multi30k", "en", "de", recipes=MULTI30K),
    Corpus("tatoeba-10k", "tatoeba-de-en", "de", "en", 10_000),
    Corpus("tatoeba-30k", "tatoeba-de-en", "de", "en", 30_000),
    Corpus("tatoeba", "tatoeba-de-en", "de", "en"),
    Corpus("pydocs", "pydocs-ko-en", "ko", "en", recipes={"transformer-small": ["pydocs-ko-en/recipe.yaml"]}),
    Corpus("phrasebook", "phrasebook", "en", "ko", recipes={"default": ["phrasebook/recipe.yaml"]}),
]
MODELS: dict[str, list[str]] = {
    "default": [],
    "transformer-small": ["--preset", "transformer-small"],
    "additive": ["--set", "model.attention.type=additive"],
    "bahdanau": ["--preset", "bahdanau"],
    "unscaled": ["--set", "model.embedding.scale=false"],
}
GRID = {"transformer-small": (0.001, 0.004)}  # learning rates of a model beside the automatic one; else
OTHER_GRID = (0.003, 0.006)
ROWS = ("automatic", "grid", "recipe")


def nmt(*arguments: str | Path, stdin: Path | None = None) -> str:
    """Run one command on one thread; its stdout. Ends the benchmark where it fails."""
    command = [sys.executable, "-m", "nmtcli", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    with (stdin or Path(os.devnull)).open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def lines(texts: Path, name: str) -> list[str]:
    """The lines of a text, with .gz behind its name or without."""
    packed = texts / f"{name}.gz"
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else (texts / name).read_bytes()
    return [f"{line}\n" for line in text.decode().split("\n")[:-1]]


def write_texts(corpus: Corpus, texts: Path, work: Path) -> None:
    """Train, valid and test of a corpus below `work`; a part of it is drawn with seed 1."""
    work.mkdir(parents=True, exist_ok=True)
    for split in SIDES:
        pairs = list(zip(*(lines(texts, f"{split}.{side}") for side in (corpus.source, corpus.target)), strict=True))
        if split == "train" and corpus.pairs is not None:
            pairs = random.Random(1).sample(pairs, corpus.pairs)
        for number, side in enumerate((corpus.source, corpus.target)):
            chosen = islice((pair[number] for pair in pairs), TEST if split == "test" else None)
            (work / f"{split}.{side}").write_text("".join(chosen), "utf-8")


def prepare(corpus: Corpus, text: Path, data: Path, settings: list[str | Path]) -> None:
    """Prepare the data, unless it is there."""
    files = [
        part
        for split in SIDES
        for kind, side in (("source", corpus.source), ("target", corpus.target))
        for part in (f"--{split}-{kind}", text / f"{split}.{side}")
    ]
    nmt("prepare", "-o", data, "-s", corpus.source, "-t", corpus.target, *settings, *files)


def measure(corpus: Corpus, text: Path, data: Path, run: Path, settings: list[str | Path]) -> dict[str, float]:
    """Train, translate the test text and score it, unless that is done."""
    result = run.with_name(f"{run.name}.json")
    if not result.exists():
        before = os.times().children_user
        nmt("train", data, "-o", run, "--set", "train.threads=1", "--set", "train.valid_sentences=200", *settings)
        minutes = (os.times().children_user - before) / 60
        hypothesis = run.with_name(f"{run.name}.hyp")
        hypothesis.write_text(nmt("translate", "-m", run, stdin=text / f"test.{corpus.source}"), "utf-8")
        scores = nmt("score", hypothesis, "-r", text / f"test.{corpus.target}", "--json", "--metric", "bleu,chrf")
        metrics = {one["name"].lower(): one["value"] for one in json.loads(scores)["systems"][0]["scores"]}
        train, model = settings_of(run).train, settings_of(run).model
        found = {"rate": train.learning_rate, "dropout": model.dropout, "batch": train.batch_tokens}
        result.write_text(json.dumps(metrics | found | {"minutes": minutes}))
    return dict(json.loads(result.read_text()))


def rows(
    corpus: Corpus, texts: Path, work: Path, model: str, updates: int, kinds: list[str]
) -> list[tuple[str, dict[str, float]]]:
    """The rows of one corpus and model, the automatic one first and always."""
    text, data = work / "text", work / "data"
    if not (text / f"test.{corpus.target}").exists():
        write_texts(corpus, texts, text)
    prepare(corpus, text, data, [])
    equal = ["--set", f"train.max_updates={updates}", "--set", f"train.valid_every={updates // 4}"]
    budget = [*MODELS[model], *equal]
    first = measure(corpus, text, data, work / f"{model}-{updates}-automatic", budget)
    found = [("automatic", first)]
    for rate in GRID.get(model, OTHER_GRID) if "grid" in kinds else ():
        setting = f"train.learning_rate={rate:g}"
        run = work / f"{model}-{updates}-{setting}"
        found.append(("grid", measure(corpus, text, data, run, [*budget, "--set", setting])))
    if "recipe" in kinds and model in corpus.recipes:
        files: list[str | Path] = [part for file in corpus.recipes[model] for part in ("-c", ROOT / "recipes" / file)]
        prepare(corpus, text, work / f"data-{model}", files)
        settings = [*files, *equal, "--set", f"train.save_every={updates // 4}"]
        settings += ["--set", f"train.batch_tokens={first['batch']:g}"]
        run = work / f"{model}-{updates}-recipe"
        found.append(("recipe", measure(corpus, text, work / f"data-{model}", run, settings)))
    return found


def main() -> None:
    """Print a table for each corpus and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--updates", type=int, default=1200)
    parser.add_argument("--only", nargs="+", choices=[corpus.name for corpus in CORPORA])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["default", "transformer-small"])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    options = parser.parse_args()
    where = machine(1, torch.device("cpu"))
    print(f"{options.updates} updates; {where}\n")
    print("| corpus | model | settings | learning rate | dropout | batch | BLEU | chrF | CPU minutes |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    for corpus in CORPORA:
        if options.only and corpus.name not in options.only:
            continue
        work = options.work / corpus.name
        texts = options.texts / corpus.folder
        if corpus.name == "phrasebook":
            nmt("demo", "-o", work, "--text-only")
            texts = work / "text"
        for model in options.models:
            found = rows(corpus, texts, work, model, options.updates, options.rows)
            for name, row in found:
                figures = [f"{row[key]:g}" for key in ("rate", "dropout", "batch")]
                figures += [f"{row[key]:.1f}" for key in ("bleu", "chrf2", "minutes")]
                print(f"| {corpus.name} | {model} | {name} | {' | '.join(figures)} |", flush=True)
            if len(found) > 1:
                behind = found[0][1]["bleu"] - max(row["bleu"] for _, row in found)
                print(f"| {corpus.name} | {model} | automatic − best | | | | {behind:.1f} | | |", flush=True)


if __name__ == "__main__":
    main()

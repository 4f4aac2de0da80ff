"""What splitting into sentences is worth: consecutive lines of a test set joined to paragraphs, translated both ways.

    python benchmarks/paragraphs.py MODEL SOURCE REFERENCE [--sentences 3] [--paragraphs 300]

SOURCE and REFERENCE are line-aligned, one sentence a line, such as a test set of news documents. Prints BLEU and chrF
of the paragraphs, sentences in and out as sentencex counts them, and seconds on one thread.
"""

import argparse
import time
from itertools import islice
from pathlib import Path

import torch
from sacrebleu.metrics import BLEU, CHRF
from training import machine

from nmtcli import LineHandling, Translator
from nmtcli.text.sentences import split_sentences

CLOSED = (".", "!", "?", "…", '"', "“", "”", "»", "。", "！", "？", "」")


def paragraphs(source: Path, reference: Path, sentences: int, number: int) -> list[tuple[str, str]]:
    """So many paragraphs of consecutive lines whose both sides end like sentences."""
    pairs = zip(source.read_text("utf-8").splitlines(), reference.read_text("utf-8").splitlines(), strict=True)
    closed = (pair for pair in pairs if all(side.rstrip().endswith(CLOSED) for side in pair))
    groups = zip(*[closed] * sentences, strict=False)  # consecutive ones
    return [(" ".join(one for one, _ in group), " ".join(one for _, one in group)) for group in islice(groups, number)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--sentences", type=int, default=3)
    parser.add_argument("--paragraphs", type=int, default=300)
    options = parser.parse_args()
    chosen = paragraphs(options.source, options.reference, options.sentences, options.paragraphs)
    print(f"{len(chosen)} paragraphs of {options.sentences} sentences; {machine(1, torch.device('cpu'))}\n")
    print("| translation | sentences in | sentences out | lines with as many | BLEU | chrF | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, split in (("whole lines", False), ("`--split-sentences`", True)):
        translator = Translator.load(options.model, "cpu", threads=1, handling=LineHandling(split_sentences=split))
        languages = translator.languages
        started = time.perf_counter()
        texts = [one.text for one in translator.translate([source for source, _ in chosen])]
        seconds = time.perf_counter() - started
        counts = [
            (len(split_sentences(source, languages[0]).sentences), len(split_sentences(text, languages[1]).sentences))
            for (source, _), text in zip(chosen, texts, strict=True)
        ]
        references = [[reference for _, reference in chosen]]
        figures = [
            f"{sum(before for before, _ in counts):,}",
            f"{sum(after for _, after in counts):,}",
            f"{sum(before == after for before, after in counts) / len(counts):.1%}",
            f"{BLEU().corpus_score(texts, references).score:.1f}",
            f"{CHRF().corpus_score(texts, references).score:.1f}",
            f"{seconds:.1f}",
        ]
        print(f"| {name} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()

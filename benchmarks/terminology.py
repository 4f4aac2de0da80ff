"""Terminology constraints: are all terms in the output, and what do they cost in BLEU and speed?

    python benchmarks/terminology.py MODEL SOURCE REFERENCE [--sentences 200] [--terms 2] [--device cpu]

Takes the first sentences and requires of each the rarest words of its reference, up to so many, as a terminology would:
words of four letters or more, as they stand there. Times are those of the CPU. Prints a Markdown table and exits with 1
where a term is missing.
"""

import argparse
import re
import sys
import time
from collections import Counter
from pathlib import Path

from nmtcli import Request, Translator
from nmtcli.metrics.scores import score_corpus

_WORD = re.compile(r"[^\W\d_]{4,}")


def rarest(reference: str, counts: Counter[str], number: int) -> list[str]:
    """The rarest words of a reference, in order for equal frequencies."""
    words = dict.fromkeys(_WORD.findall(reference))
    return sorted(words, key=lambda word: counts[word])[:number]


def has(text: str, term: str) -> bool:
    """Whether the term occurs as a whole word."""
    return re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text) is not None


def measure(arguments: argparse.Namespace) -> bool:
    """Translate with none, one, … terms a sentence; whether all are there."""
    sources, references = (
        path.read_text("utf-8").split("\n")[: arguments.sentences] for path in (arguments.source, arguments.reference)
    )
    counts = Counter(word for line in references for word in _WORD.findall(line))
    translator = Translator.load(arguments.model, arguments.device, threads=arguments.threads)
    translator.translate(sources[:20])  # what is done once is not measured
    print(
        "| terms a sentence | terms | satisfied | BLEU | CPU s | sentences/s | relative time |\n"
        "|---:|---:|---:|---:|---:|---:|---:|"
    )
    complete, plain = True, 0.0
    for number in range(arguments.terms + 1):
        terms = [rarest(line, counts, number) for line in references]
        requests = [Request(source, required=own) for source, own in zip(sources, terms, strict=True)]
        began = time.process_time()
        texts = [translation.text for translation in translator.translate(requests)]
        seconds = time.process_time() - began
        plain = plain or seconds
        there = sum(has(text, term) for text, own in zip(texts, terms, strict=True) for term in own)
        wanted = sum(map(len, terms))
        complete &= there == wanted
        (bleu,) = score_corpus(texts, [references], ("bleu",))
        share = f"{there / wanted:.1%}" if wanted else ""
        print(
            f"| {number} | {wanted} | {share} | {bleu.value:.1f} | {seconds:.1f} | {len(sources) / seconds:.1f}"
            f" | × {seconds / plain:.2f} |"
        )
    return complete


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Required terms: are they there, and what do they cost?")
    parser.add_argument("model", type=Path, metavar="MODEL")
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("reference", type=Path, metavar="REFERENCE")
    parser.add_argument("--sentences", type=int, default=200, help="%(default)s")
    parser.add_argument("--terms", type=int, default=2, help="most terms required of a sentence (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    parser.add_argument("--device", default="cpu", help="%(default)s")
    sys.exit(not measure(parser.parse_args()))


if __name__ == "__main__":
    main()

"""Does protected text come out as it went in? Spans and tags put into a test set, translated by each method.

    python benchmarks/protected_text.py MODEL SOURCE REFERENCE [--lines 500]

SOURCE and REFERENCE are line-aligned plain text. Each line gets spans of one kind at random places (seed 1). For each
method the table has the share of spans and tags that occur exactly once in the translation, the share of lines whose
tags are well-formed, BLEU of the translation without the spans, and lines per CPU second of one thread. A model without
placeholder symbols has no row for mask.
"""

import argparse
import random
import time
from collections import Counter
from pathlib import Path

import torch
from sacrebleu.metrics import BLEU
from training import machine

from nmtcli import LineHandling, Translator
from nmtcli.errors import UserError
from nmtcli.text.inline import content_of, tag_violations
from nmtcli.text.spans import Scanner

SPANS = {
    "url": ["https://example.org/a?b=c&d=1", "www.example.com/help", "http://a.b.example.net/x_(y).html"],
    "email": ["first.last@example.org", "info+news@mail.example.com"],
    "number": ["12,500", "3.5 km", "50 %", "$12.50", "2026-11-30", "10:45"],
    "variable": ["{name}", "{{user.name}}", "%s", "%1$d", "%(count)s", "${HOME}"],
    "icu": ["{n, plural, one {# item} other {# items}}"],
    "symbol": ["__NAME__", "__A_1__"],
    "tag": ["<b>|</b>", "<a href='x.html'>|</a>", "<i><u>|</u></i>", "<br/>", '<x id="1"/>', "<g id='2'>|</g>"],
}
SCANNER = Scanner()


def with_spans(line: str, kind: str, drawn: random.Random) -> str:
    """The line with one or two spans of a kind between its words, or tags around some of its words."""
    words = line.split()
    for span in drawn.sample(SPANS[kind], min(len(SPANS[kind]), drawn.choice([1, 1, 2]))):
        before, _, after = span.partition("|")
        begin = drawn.randrange(len(words))
        if kind != "tag":
            words.insert(begin + 1, span)
        else:
            end = drawn.randrange(begin, len(words)) if after else begin
            words[begin], words[end] = before + words[begin], words[end] + after
    return " ".join(words)


def kept(source: str, translation: str) -> tuple[int, int, bool]:
    """Spans of the source that the translation has as often, all spans, and whether the tags are well-formed."""
    spans = Counter(span.text for span in SCANNER.scan(source))
    found = Counter(span.text for span in SCANNER.scan(translation))
    right = sum(count for text, count in spans.items() if found[text] == count)
    contents = [content_of(text, SCANNER.scan(text)) for text in (source, translation)]
    return right, sum(spans.values()), not any(one.kind == "malformed" for one in tag_violations(*contents))


def without_spans(text: str) -> str:
    """The text without protected spans, single-spaced."""
    for span in reversed(SCANNER.scan(text)):
        text = text[: span.start] + text[span.end :]
    return " ".join(text.split())


def main() -> None:
    """Print a table with a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--lines", type=int, default=500)
    options = parser.parse_args()
    drawn = random.Random(1)
    sides = [path.read_text("utf-8").splitlines() for path in (options.source, options.reference)]
    pairs = [pair for pair in zip(*sides, strict=True) if pair[0].split() and not SCANNER.scan(" ".join(pair))]
    pairs = pairs[: options.lines]
    kinds = [list(SPANS)[number % len(SPANS)] for number in range(len(pairs))]
    plain = [source for source, _ in pairs]
    lines = [with_spans(source, kind, drawn) for source, kind in zip(plain, kinds, strict=True)]
    references = [[reference for _, reference in pairs]]
    print(f"{len(lines)} lines; {machine(1, torch.device('cpu'))}\n")
    print(f"| method | {' | '.join(SPANS)} | all | well-formed | BLEU | lines/s |")
    print("|---|" + "---:|" * (len(SPANS) + 4))
    for name, handling, text in (
        ("without spans", LineHandling(protect="none"), plain),
        ("none", LineHandling(protect="none"), lines),
        ("copy", LineHandling(protect="copy"), lines),
        ("copy, tags transfer", LineHandling(protect="copy", tags="transfer"), lines),
        ("mask", LineHandling(protect="mask"), lines),
        ("mask, tags transfer", LineHandling(protect="mask", tags="transfer"), lines),
    ):
        try:
            translator = Translator.load(options.model, "cpu", threads=1, handling=handling)
        except UserError as error:
            print(f"| {name} | {error.message} |")
            continue
        translator.translate(text[:20])
        started = time.process_time()
        translations = [one.text for one in translator.translate(text)]
        seconds = time.process_time() - started
        right, total, formed = Counter[str](), Counter[str](), 0
        for kind, source, translation in zip(kinds, text, translations, strict=True):
            ours, spans, well = kept(source, translation)
            right[kind], total[kind], formed = right[kind] + ours, total[kind] + spans, formed + well
        shares = [f"{right[kind] / total[kind]:.1%}" if total[kind] else "" for kind in SPANS]
        shares += [f"{sum(right.values()) / sum(total.values()):.1%}" if sum(total.values()) else ""]
        score = BLEU(force=True).corpus_score(list(map(without_spans, translations)), references).score
        print(f"| {name} | {' | '.join(shares)} | {formed / len(text):.1%} | {score:.1f} | {len(text) / seconds:.1f} |")


if __name__ == "__main__":
    main()

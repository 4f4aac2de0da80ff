"""TMX 1.4, the translation memory exchange format, written."""

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape, quoteattr

from nmtcli.text.inline import Content, Tag, partners
from nmtcli.version import __version__


def tmx(pairs: Iterable[tuple[Content, Content]], source: str, target: str) -> Iterator[str]:
    """The text of a translation memory, in parts: a unit for each pair of texts in the languages source and target.

    Inline tags become bpt and ept if they are a pair, else ph. A pair with an empty side is left out.
    """
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4">\n'
        f'  <header creationtool="nmt" creationtoolversion={quoteattr(__version__)} segtype="block" o-tmf="nmt"'
        f' adminlang="en" srclang={quoteattr(source)} datatype="plaintext"/>\n  <body>\n'
    )
    for pair in pairs:
        if not all(any(isinstance(part, str) and part.strip() for part in side) for side in pair):
            continue
        yield "    <tu>\n"
        for language, side in zip((source, target), pair, strict=True):
            yield f"      <tuv xml:lang={quoteattr(language)}><seg>{_segment(side)}</seg></tuv>\n"
        yield "    </tu>\n"
    yield "  </body>\n</tmx>\n"


def _segment(content: Content) -> str:
    pairs = partners(content)
    numbers = {opening: number for number, opening in enumerate(pairs, 1)}
    numbers |= {pairs[opening]: number for opening, number in numbers.items()}
    parts: list[str] = []
    for at, part in enumerate(content):
        if not isinstance(part, Tag):
            parts.append(escape(_valid(part)))
        elif at in numbers:
            name = "bpt" if at in pairs else "ept"
            parts.append(f'<{name} i="{numbers[at]}">{escape(_valid(part.text))}</{name}>')
        else:
            parts.append(f"<ph>{escape(_valid(part.text))}</ph>")
    return "".join(parts)


_INVALID = frozenset("\ufffe\uffff") | {chr(point) for point in range(0xD800, 0xE000)}


def _valid(text: str) -> str:
    """A text without characters that XML cannot have."""
    return "".join(one for one in text if one in "\t\n" or (one >= " " and one not in _INVALID))

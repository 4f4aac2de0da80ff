"""Official test sets by name, from sacreBLEU's collection and cache."""

from dataclasses import dataclass
from pathlib import Path

from portalocker.exceptions import BaseLockException
from sacrebleu.utils import (
    get_available_testsets,
    get_langpairs_for_testset,
    get_reference_files,
    get_source_file,
)

from nmtcli.errors import DataError, UserError, nearest
from nmtcli.metrics.texts import Text, read_text


@dataclass(frozen=True)
class TestSet:
    """The source and the reference translations of a test set."""

    __test__ = False  # not a test class of pytest

    source: Text
    references: list[Text]


def open_test_set(names: str, pair: str) -> TestSet:
    """The test sets `names`, separated by commas, for a language pair such as en-de.

    sacreBLEU downloads sets that are not in its cache (the directory of the environment variable SACREBLEU, or
    ~/.sacrebleu). Raises UserError for unknown names, DataError if a download fails.
    """
    parts = [_open(name, pair) for name in names.split(",")]
    counts = {len(part.references) for part in parts}
    if len(counts) > 1:
        raise UserError(f"--test-set {names}: the sets have different numbers of references", "score them one by one")
    sources, *references = zip(*((part.source, *part.references) for part in parts), strict=True)
    return TestSet(_joined(sources), [_joined(texts) for texts in references])


def _open(name: str, pair: str) -> TestSet:
    known = get_available_testsets()
    if name not in known:
        raise UserError(f"unknown test set {name!r}{nearest(name, known)}", "sacrebleu --list prints their names")
    pairs = get_langpairs_for_testset(name)
    pair = next((known for known in pairs if known.lower() == pair.lower()), pair)
    if pair not in pairs:
        raise UserError(f"the test set {name} has no {pair}", f"it has {', '.join(sorted(pairs))}")
    try:
        source, references = get_source_file(name, pair), get_reference_files(name, pair)
    except (OSError, EOFError, BaseLockException, SystemExit) as error:  # SystemExit: the checksum does not match
        reason = "see above" if isinstance(error, SystemExit) else f"{error}"
        raise DataError(
            f"sacreBLEU cannot download the test set {name} {pair}: {reason}",
            "run it once with network access; sacreBLEU keeps downloads in ~/.sacrebleu, or the directory of the"
            " environment variable SACREBLEU",
        ) from error
    if not references:
        raise DataError(f"the test set {name} has no reference for {pair}", "choose another test set")
    return TestSet(_read(source, name), [_read(path, name) for path in references])


def _read(path: str, name: str) -> Text:
    text = read_text(Path(path))
    return Text(f"{name} ({Path(path).name})", text.lines)


def _joined(texts: tuple[Text, ...]) -> Text:
    return Text(" + ".join(text.name for text in texts), [line for text in texts for line in text.lines])

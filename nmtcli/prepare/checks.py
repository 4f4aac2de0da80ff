"""What can be wrong with the files, found before any expensive work and told all at once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nmtcli.errors import DataError
from nmtcli.prepare.corpus import AlignedFiles, PrepareFiles, check_file, count_lines

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class CountedFiles:
    """Two files found to have the same number of lines."""

    files: AlignedFiles
    pairs: int
    crlf_lines: int  # of both files


def check_files(sources: PrepareFiles) -> None:
    """Look at the start of every file. Raises one DataError that lists all that is wrong."""
    _each(check_file, dict.fromkeys(path for files in sources for path in (files.source, files.target)))


def count_files(pairs: Sequence[AlignedFiles], on_file: Callable[[int], None]) -> list[CountedFiles]:
    """Read all files to their ends, telling `on_file` how many pairs of files are done.

    Raises one DataError that lists damaged files and those whose numbers of lines differ.
    """

    def count(numbered: tuple[int, AlignedFiles]) -> CountedFiles:
        on_file(numbered[0])
        return _count(numbered[1])

    counted = _each(count, enumerate(pairs))
    on_file(len(pairs))
    return counted


def _count(files: AlignedFiles) -> CountedFiles:
    source, target = count_lines(files.source), count_lines(files.target)
    if source.lines != target.lines:
        raise DataError(
            f"{files.source} has {source.lines:,} lines but {files.target} has {target.lines:,}",
            "line n of one file must translate line n of the other, and only LF ends a line",
        )
    return CountedFiles(files, source.lines, source.crlf_lines + target.crlf_lines)


def _each(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The results, or one DataError made of all that was raised."""
    results: list[Result] = []
    errors: list[DataError] = []
    for item in items:
        try:
            results.append(function(item))
        except DataError as error:
            errors.append(error)
    if errors:
        hints = dict.fromkeys(error.hint for error in errors if error.hint)
        raise DataError("\n".join(error.message for error in errors), "; ".join(hints) or None)
    return results

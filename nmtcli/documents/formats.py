"""Formats of documents, by the ending of the file's name."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from nmtcli.documents.document import Document
from nmtcli.documents.html import Html
from nmtcli.documents.markdown import Markdown
from nmtcli.documents.po import Po
from nmtcli.documents.subtitles import Subtitles
from nmtcli.documents.xliff import Xliff
from nmtcli.errors import UserError

_FORMATS: dict[str, Callable[[Path], Document]] = {
    ".srt": partial(Subtitles, kind="srt"),
    ".vtt": partial(Subtitles, kind="vtt"),
    ".md": Markdown,
    ".markdown": Markdown,
    ".html": Html,
    ".htm": Html,
    ".xhtml": Html,
    ".po": Po,
    ".pot": Po,
    ".xlf": Xliff,
    ".xliff": Xliff,
}
ENDINGS = tuple(_FORMATS)


def is_document(path: Path) -> bool:
    """Whether the name of a file ends like that of a document."""
    return path.suffix.lower() in _FORMATS


def open_document(path: Path) -> Document:
    """Read a document. Raises UserError for another ending, DataError for a broken file, with its line."""
    if not is_document(path):
        raise UserError(f"{path}: not a known format of documents", f"name it {', '.join(ENDINGS)}")
    return _FORMATS[path.suffix.lower()](path)

"""Draws what a command shows on a terminal as an SVG: `python docs/screenshot.py OUTPUT.svg TITLE -- nmt train …`.

The command runs for real, on a pseudo-terminal 104 columns wide. Of lines that are drawn anew in place the last state
stays, as on a screen. With SHOWN=SECONDS in the environment the picture is that of so many seconds after the start;
then the command is interrupted.
"""

import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from html import unescape
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.cells import cell_len
from rich.console import Console

COLUMNS = 104
_COLUMN = 12.2  # units of rich's drawing
_CURSOR = re.compile(r"\x1b\[\?25[hl]|\x1b\[[0-9]*[A-HJST]")


def capture(command: list[str], seconds: float | None) -> str:
    """All that a command writes to its terminal."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    parts: list[bytes] = []
    shown: bytes | None = None
    began = time.monotonic()
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the last end of the terminal is closed
            break
        parts.append(part)
        if seconds and shown is None and time.monotonic() - began > seconds:
            shown = b"".join(parts)
            process.send_signal(signal.SIGINT)
    process.wait()
    return (shown or b"".join(parts)).decode("utf-8", "replace").replace("\r\n", "\n")


def screen(text: str) -> str:
    """What stays of lines that were drawn anew in place: each as it was last."""
    lines = (re.split(r"\r\x1b\[2K|\r", line)[-1] for line in text.split("\n"))
    return _CURSOR.sub("", "\n".join(lines))


def picture(text: str, title: str) -> str:
    """An SVG that loads no font from elsewhere."""
    console = Console(width=COLUMNS, record=True, file=io.StringIO(), force_terminal=True)
    for line in AnsiDecoder().decode(text):
        console.print(line)
    svg = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title=title), flags=re.DOTALL)
    return re.sub(r'textLength="[^"]*"([^>]*)>([^<]*)<', _stretched, svg)


def _stretched(text: re.Match[str]) -> str:
    """A text over as many columns as it takes: rich counts characters, and those of Korean are two columns wide."""
    return f'textLength="{cell_len(unescape(text[2])) * _COLUMN:.1f}"{text[1]}>{text[2]}<'


def main() -> None:
    output, title, _, *command = sys.argv[1:]
    seconds = os.environ.get("SHOWN")
    text = screen(capture(command, float(seconds) if seconds else None))
    Path(output).write_text(picture(text, title), "utf-8")


if __name__ == "__main__":
    main()

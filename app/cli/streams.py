"""The command's input and output: encodings, control characters, write errors, and tracebacks without secrets."""

from __future__ import annotations

import codecs
import os
import re
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import TextIO

from app.cli.colour import Line, painted
from app.errors import ConvictionError, InvalidRequest

CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\N{ARABIC LETTER MARK}\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}"
    "\N{LINE SEPARATOR}-\N{RIGHT-TO-LEFT OVERRIDE}\N{LEFT-TO-RIGHT ISOLATE}-\N{POP DIRECTIONAL ISOLATE}]"
)
"""Characters that move a terminal's cursor, change its state, or reorder its text."""
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class OutputFailed(ConvictionError):
    """Standard output cannot be written; standard error has the text."""


class ReaderLeft(ConvictionError):
    """The reader of standard output closed it, as `head` does."""


def prepare() -> None:
    """Let the standard streams write any text, and keep secrets out of tracebacks. Call once, at the start."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - open until the process ends
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _print_crash


def read(file: str) -> str:
    """Return the text of a file (- is standard input), with U+FFFD for each byte that is not UTF-8.

    Raises `InvalidRequest` if it cannot be read, or is UTF-16.
    """
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, AttributeError) as error:  # the latter: standard input is closed
        raise InvalidRequest(f"{file} cannot be read: {error}") from None
    if content.startswith(UTF_16):
        raise InvalidRequest(f"{file} cannot be read: it is UTF-16; save it as UTF-8")
    return content.decode("utf-8-sig", "replace")


def write(*lines: str | Line, end: str = "\n") -> None:
    """Write lines to standard output, coloured on a terminal.

    Raises `ReaderLeft` if its reader closed it. If it cannot be written for another reason, write the lines to
    standard error, and raise `OutputFailed`.
    """
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        sys.stdout.write(_shown(lines, sys.stdout) + end)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        raise ReaderLeft("the reader of standard output closed it") from None
    except OSError as error:
        _discard_output()
        note(*lines)
        raise OutputFailed(f"standard output cannot be written: {error.strerror or error}") from None


def note(*lines: str | Line) -> None:
    """Write lines to standard error, if it can be written."""
    with suppress(OSError):
        sys.stderr.write(_shown(lines, sys.stderr) + "\n")
        sys.stderr.flush()


def is_terminal() -> bool:
    """Return whether a person reads standard output while it is written."""
    return sys.stdout is not None and sys.stdout.isatty()


def _shown(lines: Iterable[str | Line], stream: TextIO) -> str:
    parts = (Line(line) if isinstance(line, str) else line for line in lines)
    return "\n".join(painted(visible(text), style, stream) for text, style in parts)


def visible(text: str) -> str:
    """Return the text with its control characters as escapes; line ends and tabs stay."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _discard_output() -> None:
    """Redirect standard output to nowhere: Python writes the rest of its buffer again at exit."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _print_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from app.settings.secrets import known_secrets
    from app.telemetry.logs import SecretFilter

    note(SecretFilter(known_secrets()).redact("".join(traceback.format_exception(kind, error, trace)).rstrip()))

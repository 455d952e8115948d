"""The two consoles: results go to standard output, everything else to standard error."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TextIO

from rich.console import Console
from rich.padding import Padding
from rich.style import Style
from rich.text import Text

#: Wide enough that nothing is cut when a program reads the output.
_UNBOUNDED = 10_000


@dataclass(frozen=True)
class Marks:
    """The marks before a line."""

    done: str = "✓"
    skipped: str = "–"
    failed: str = "✗"
    waiting: str = "…"
    running: str = "▸"
    dot: str = " · "


_ASCII = Marks(done="ok", skipped="--", failed="!!", waiting="..", running=">>", dot=", ")


class Screen:
    """Both consoles. Text is never parsed as markup: names may contain brackets."""

    @cached_property
    def out(self) -> Console:
        """Results."""
        return _console(sys.stdout)

    @cached_property
    def err(self) -> Console:
        """Progress, warnings and failures."""
        return _console(sys.stderr, stderr=True)

    @cached_property
    def marks(self) -> Marks:
        """The marks that standard output can encode."""
        try:
            "".join(vars(Marks()).values()).encode(self.out.encoding)
        except (UnicodeEncodeError, LookupError):
            return _ASCII
        return Marks()

    def line(self, *parts: tuple[str, str] | str, error: bool = False) -> None:
        """Print one line, never wrapped, so that a path in it can be copied."""
        console = self.err if error else self.out
        console.print(styled(*parts), soft_wrap=True)

    def sentence(self, *parts: tuple[str, str] | str, error: bool = False) -> None:
        """Print text to be read, indented by two columns and wrapped between words."""
        console = self.err if error else self.out
        console.print(Padding(styled(*parts), (0, 0, 0, 2), expand=False))


def styled(*parts: tuple[str, str] | str) -> Text:
    """Return text whose parts are plain, or ``(text, style)``."""
    text = Text()
    for part in parts:
        if isinstance(part, str):
            text.append(part)
        else:
            text.append(part[0], Style.parse(part[1]))
    return text


def _console(stream: TextIO, *, stderr: bool = False) -> Console:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    # Not file=stream: a live display replaces sys.stdout while it is drawn.
    return Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() or "COLUMNS" in os.environ else _UNBOUNDED,
    )


screen = Screen()

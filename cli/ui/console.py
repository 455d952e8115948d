"""The two consoles: results go to standard output, everything else to standard error.

rich draws on terminals. Loading it takes a tenth of the time of a command that ends at once, so
plain lines in a pipe are printed without it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

#: Wide enough that nothing is cut when a program reads the output.
_UNBOUNDED = 10_000

#: Variables that make rich draw as on a terminal, or wrap, whatever it writes to (rich's
#: documentation, "Console API", "Environment variables").
_AS_A_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS")


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
            "".join(vars(Marks()).values()).encode(sys.stdout.encoding)
        except (UnicodeEncodeError, LookupError):
            return _ASCII
        return Marks()

    def line(self, *parts: tuple[str, str] | str, error: bool = False) -> None:
        """Print one line, never wrapped, so that a path in it can be copied."""
        if is_plain(stream := sys.stderr if error else sys.stdout):
            _print_plain(stream, parts)
            return
        console = self.err if error else self.out
        console.print(styled(*parts), soft_wrap=True)

    def sentence(self, *parts: tuple[str, str] | str, error: bool = False) -> None:
        """Print text to be read, indented by two columns and wrapped between words."""
        if is_plain(stream := sys.stderr if error else sys.stdout):
            _print_plain(stream, parts, indent="  ")
            return
        from rich.padding import Padding  # noqa: PLC0415

        console = self.err if error else self.out
        console.print(Padding(styled(*parts), (0, 0, 0, 2), expand=False))


def is_plain(stream: TextIO) -> bool:
    """Return whether nothing is drawn or wrapped on this stream."""
    return not stream.isatty() and not any(map(os.environ.get, _AS_A_TERMINAL))


def _print_plain(
    stream: TextIO, parts: tuple[tuple[str, str] | str, ...], indent: str = ""
) -> None:
    text = "".join(part if isinstance(part, str) else part[0] for part in parts)
    _escape_unencodable(stream)
    stream.write("".join(f"{indent}{line}\n" for line in text.split("\n")))
    stream.flush()


def _escape_unencodable(stream: TextIO) -> None:
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")


def styled(*parts: tuple[str, str] | str) -> Text:
    """Return text whose parts are plain, or ``(text, style)``."""
    from rich.style import Style  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    text = Text()
    for part in parts:
        if isinstance(part, str):
            text.append(part)
        else:
            text.append(part[0], Style.parse(part[1]))
    return text


def _console(stream: TextIO, *, stderr: bool = False) -> Console:
    from rich.console import Console  # noqa: PLC0415

    _escape_unencodable(stream)
    # Not file=stream: a live display replaces sys.stdout while it is drawn.
    return Console(
        stderr=stderr,
        markup=False,
        highlight=False,
        emoji=False,
        width=None if stream.isatty() or "COLUMNS" in os.environ else _UNBOUNDED,
    )


screen = Screen()

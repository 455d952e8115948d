"""The progress of the current recording; nothing is drawn without a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cli.ui.console import is_plain


class Bar:
    """Where the progress of one recording is shown: here, nowhere."""

    def update(self, fraction: float) -> None:
        """Show the fraction encoded. At 1 the audio is still to be verified and stored."""

    def waiting(self, why: str) -> None:
        """Show why nothing moves."""


@contextmanager
def bar(name: str, size_bytes: int, *, position: str = "", quiet: bool = False) -> Iterator[Bar]:
    """Draw the bar of one recording while the block runs, then remove it.

    ``position`` is a count such as ``[3/13]``.
    """
    if quiet or is_plain(sys.stderr):
        yield Bar()
        return
    from cli.ui.live_bar import live_bar  # noqa: PLC0415

    with live_bar(name, size_bytes, position) as drawn:
        yield drawn

"""Numbers with their nouns, as people read them."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 recording`` or ``2,000 recordings``; ``plural`` if it is not ``noun`` and an s."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"

"""The JSON of ``manifest.json``, read and written a row at a time: it may have 100,000 rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO, TypeAlias

from shared.core import untrusted_json
from shared.core.times import format_time

VERSION = 1

#: How much of a manifest is read at a time, in characters.
_CHUNK = 1 << 16

#: The numbers of a row that have a total.
_SUMMED = ("source_bytes", "bytes", "duration_s")

#: How a manifest of this program begins, of any of its versions.
_HEAD = re.compile(
    r'\s*\{\s*"version"\s*:\s*(\d+)\s*,\s*"generated_at"\s*:\s*"[^"]*"\s*,\s*"files"\s*:\s*\['
)
_BETWEEN = " \t\r\n,"

Row: TypeAlias = dict[str, Any]


def write(file: TextIO, rows: Iterable[Row], parts: Mapping[str, Row], now: datetime) -> bool:
    """Write a manifest of ``rows`` with ``parts`` merged in; returns whether a part changed it."""
    head = {"version": VERSION, "generated_at": format_time(now)}
    file.write(json.dumps(head)[:-1] + ', "files": [')
    totals: dict[str, Any] = {"files": 0, **dict.fromkeys(_SUMMED, 0)}
    changed = False
    for row, is_new in merged(rows, parts):
        file.write(",\n" if totals["files"] else "\n")
        file.write(json.dumps(row, ensure_ascii=False))
        changed |= is_new
        totals["files"] += 1
        for name in _SUMMED:
            totals[name] += row[name]
    totals["duration_s"] = round(totals["duration_s"], 3)
    file.write(f'\n], "totals": {json.dumps(totals)}}}\n')
    return changed


def merged(rows: Iterable[Row], parts: Mapping[str, Row]) -> Iterator[tuple[Row, bool]]:
    """Merge sorted rows with parts by source; yields each row, and whether it is new."""
    waiting = sorted(parts, reverse=True)
    for row in rows:
        while waiting and waiting[-1] < row["source"]:
            yield parts[waiting.pop()], True
        if waiting and waiting[-1] == row["source"]:
            part = parts[waiting.pop()]
            yield part, part != row
        else:
            yield row, False
    for source in reversed(waiting):
        yield parts[source], True


def read(file: TextIO) -> Iterator[Row]:
    """Yield the rows of a manifest that a merge can use.

    Raises ``ValueError`` when it is not whole, and ``TypeError`` or ``KeyError`` for a row of
    another shape.
    """
    text, decoder = file.read(_CHUNK), json.JSONDecoder()
    head = _HEAD.match(text)
    if not head:  # written or edited by another program
        body = untrusted_json.parse(text + file.read())
        _check_version(body["version"])
        yield from map(_checked, sorted(body["files"], key=lambda row: str(row["source"])))
        return
    _check_version(int(head[1]))
    at = head.end()
    while True:
        while at < len(text) and text[at] in _BETWEEN:
            at += 1
        if text.startswith("]", at):
            break
        try:
            row, end = decoder.raw_decode(text, at)
        except ValueError:
            more = file.read(_CHUNK)
            if not more:
                raise
            text, at = text[at:] + more, 0
            continue
        yield _checked(row)
        at = end
    # The totals are there, and the end.
    untrusted_json.parse('{"files": [' + text[at:] + file.read())


def _checked(row: Any) -> Row:
    numbers = [row[name] for name in _SUMMED]
    if not isinstance(row, dict) or not isinstance(row["source"], str):
        raise TypeError("a row is not an object with a source")
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError(f"the sizes of {row['source'][:80]!r} are not numbers")
    return row


def _check_version(version: object) -> None:
    if version != VERSION:
        raise ValueError(f"version {version!r}")

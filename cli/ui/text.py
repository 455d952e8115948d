"""Names, sizes and times as people read them. Control characters in names are escaped."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.core.counts import counted

# Joiners are not printable to Python, and part of emoji and of several scripts.
_JOINERS = "\u200c\u200d"


def shown(text: str) -> str:
    """Return ``text`` on one line, with control characters and lone bytes escaped."""
    plain = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c in _JOINERS else repr(c)[1:-1] for c in plain)


def duration(seconds: float) -> str:
    """Return a length: ``0.8 s``, ``42 s``, ``2 min 5 s``, ``1 h 2 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: float) -> str:
    """Return a size in decimal units, as file managers do: ``512 B``, ``1.9 MB``."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def ago(then: datetime | None, now: datetime) -> str:
    """Return how long ago something was: ``just now``, ``5 min ago``, ``3 days ago``."""
    if then is None:
        return ""
    seconds = (now - then).total_seconds()
    if seconds < 10:
        return "just now"
    for most, unit, name in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if seconds < most:
            return f"{int(seconds / unit)} {name} ago"
    days = int(seconds / 86400)
    return f"{counted(days, 'day')} ago"


def place(url: str) -> str:
    """Return an object's location for people: a path, or its ``gs://`` address."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        return url
    return below(Path(unquote(parts.path)), Path.cwd())


def below(path: Path, folder: Path) -> str:
    """Return a path relative to ``folder`` where it is inside it, else as it is."""
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)

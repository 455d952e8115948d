"""Search words: how names and queries are cut into words, so that both are cut alike."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

#: Longer words are cut, in names and in queries. Firestore stores every prefix of a word.
MAX_WORD = 32

#: Enough for every name that people type; bounds what one document stores.
MAX_WORDS = 40

_WORD = re.compile(r"\d{4}-\d{2}-\d{2}|\d{4}-\d{2}(?![\d-])|[^\W_]+")
_DATE = re.compile(r"(?<!\d)(\d{4})[-/._∕](\d{1,2})(?:[-/._∕](\d{1,2}))?(?![\d])")

# Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar: written without spaces.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_MAX_UNSPACED = 16


def split_words(text: str) -> tuple[str, ...]:
    """Return the normalised words of ``text``: each once, in order.

    Upper and lower case, accents and full-width forms make no difference. A date in
    year-month-day order is one word, ``2025-04-07``; so is a year and month, ``2025-04``.
    """
    return tuple(dict.fromkeys(_words(text)))[:MAX_WORDS]


def index_words(*texts: str) -> tuple[str, ...]:
    """Return the words under which something with these texts is found, sorted.

    Scripts without spaces have no word boundaries, so each character of such a run also
    starts a word.
    """
    found: dict[str, None] = {}
    for word in (word for text in texts for word in _words(text)):
        found[word] = None
        if _UNSPACED.search(word):
            tails = (word[start:] for start in range(1, min(len(word), _MAX_UNSPACED)))
            found.update(dict.fromkeys(tail for tail in tails if _UNSPACED.match(tail)))
    return tuple(sorted(list(found)[:MAX_WORDS]))


def prefixes(words: Iterable[str]) -> list[str]:
    """Return every prefix of every word, each once."""
    return sorted({word[:end] for word in words for end in range(1, len(word) + 1)})


def _words(text: str) -> list[str]:
    # Compatibility forms first, since only then all capitals show; composing again keeps
    # Hangul whole.
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(char for char in apart if unicodedata.category(char) != "Mn")
    dated = _DATE.sub(_as_date, unicodedata.normalize("NFC", bare))
    return [word[:MAX_WORD] for word in _WORD.findall(dated)]


def _as_date(match: re.Match[str]) -> str:
    year, month, day = match.groups()
    return f" {year}-{int(month):02}" + (f"-{int(day):02} " if day else " ")

"""The query language of ``files.list``: a parser into predicates over files.

Where Drive's reading of ``a and b or c`` could be doubted, the stand-in refuses it and
asks for parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from cli.demo.drive_standin.errors import ApiError, invalid
from cli.demo.drive_standin.times import parse_time


class Subject(Protocol):
    """The fields of a file that a query may use, as one account sees them."""

    def text(self, field: str) -> str:
        """Return a text or time field."""

    def flag(self, field: str) -> bool:
        """Return a boolean field."""

    def collection(self, field: str) -> frozenset[str]:
        """Return ``parents``, ``owners``, ``writers`` or ``readers``."""


Predicate: TypeAlias = Callable[[Subject], bool]

TEXTS = {"name", "mimeType", "shortcutDetails.targetId"}
TIMES = {"modifiedTime", "createdTime"}
FLAGS = {"trashed", "starred", "sharedWithMe"}
COLLECTIONS = {"parents", "owners", "writers", "readers"}

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^'\\]|\\.)*')|(?P<word>[A-Za-z][\w.]*)|(?P<op><=|>=|!=|=|<|>|\(|\)))"
)


@dataclass(frozen=True)
class Query:
    """A parsed query: its predicate, and the folders it is limited to, if any."""

    matches: Predicate
    parents: frozenset[str] | None


def parse(text: str | None) -> Query:
    """Parse ``q``; raises ``ApiError`` 400 with ``location`` q."""
    if not text or not text.strip():
        return Query(lambda _: True, None)
    return _Parser(text).parse()


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, end = [], 0
    while text[end:].strip():
        match = _TOKEN.match(text, end)
        if not match:
            raise invalid("q")
        tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
        end = match.end()
    return tokens


class _Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)

    def parse(self) -> Query:
        query = self._expression()
        if self._tokens:
            raise invalid("q")
        return query

    def _peek(self) -> str:
        return self._tokens[0][1] if self._tokens else ""

    def _next(self, kind: str = "") -> str:
        if not self._tokens or (kind and self._tokens[0][0] != kind):
            raise invalid("q")
        return self._tokens.pop(0)[1]

    def _expression(self) -> Query:
        parts = [self._negation()]
        joint = self._peek()
        while self._peek() in ("and", "or"):
            if self._next() != joint:
                raise invalid("q", "Mixed and/or: use parentheses")
            parts.append(self._negation())
        return _all(parts) if joint == "and" else _any(parts)

    def _negation(self) -> Query:
        if self._peek() == "not":
            self._next()
            inner = self._negation()
            return Query(lambda file: not inner.matches(file), None)
        if self._peek() == "(":
            self._next()
            inner = self._expression()
            if self._next() != ")":
                raise invalid("q")
            return inner
        return self._term()

    def _term(self) -> Query:
        if self._tokens and self._tokens[0][0] == "text":
            return self._membership()
        field = self._next("word")
        if field == "sharedWithMe" and self._peek() not in ("=", "!="):
            return Query(lambda file: file.flag(field), None)
        return Query(_comparison(field, self._next(), self._next()), None)

    def _membership(self) -> Query:
        value = _unquote(self._next())
        if self._next() != "in":
            raise invalid("q")
        field = self._next("word")
        if field not in COLLECTIONS:
            raise invalid("q")
        parents = frozenset({value}) if field == "parents" else None
        return Query(lambda file: value in file.collection(field), parents)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _all(parts: list[Query]) -> Query:
    if len(parts) == 1:
        return parts[0]
    parents = next((part.parents for part in parts if part.parents is not None), None)
    return Query(lambda file: all(part.matches(file) for part in parts), parents)


def _any(parts: list[Query]) -> Query:
    if len(parts) == 1:
        return parts[0]
    known = [part.parents for part in parts if part.parents is not None]
    parents = frozenset().union(*known) if len(known) == len(parts) else None
    return Query(lambda file: any(part.matches(file) for part in parts), parents)


_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
}


def _comparison(field: str, op: str, value: str) -> Predicate:
    if field in FLAGS:
        if value not in ("true", "false") or op not in ("=", "!="):
            raise invalid("q")
        wanted = (value == "true") == (op == "=")
        return lambda file: file.flag(field) == wanted
    if not value.startswith("'"):
        raise invalid("q")
    if field in TIMES:
        return _time(field, op, _unquote(value))
    if field in TEXTS:
        return _text(field, op, _unquote(value))
    raise invalid("q")


def _time(field: str, op: str, value: str) -> Predicate:
    compare = _ORDER.get(op)
    try:
        moment = parse_time(value)
    except ValueError:
        raise invalid("q") from None
    if compare is None:
        raise invalid("q")
    return lambda file: compare(parse_time(file.text(field)).timestamp(), moment.timestamp())


def _text(field: str, op: str, value: str) -> Predicate:
    if op == "=":
        return lambda file: file.text(field) == value
    if op == "!=":
        return lambda file: file.text(field) != value
    if op == "contains" and field != "shortcutDetails.targetId":
        # Drive matches ``contains`` on names and types from the start of a word only.
        start = r"(?:^|\s)" if field == "name" else "^"
        pattern = re.compile(start + re.escape(value))
        return lambda file: bool(pattern.search(file.text(field)))
    raise ApiError(400, "invalid", f"Invalid operator {op} for {field}", location="q")

"""List prices: those that come with the program, or a file of the same shape."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from shared.core.errors import ConfigurationError

#: Cloud Run's two tiers of regions.
TIERS = ("1", "2")


@dataclass(frozen=True)
class Price:
    """What one thing costs.

    ``usd`` is for ``per`` units, by tier. ``free`` units a month cost nothing; they are
    worth their tier 1 price wherever they are used, as Cloud Run counts them. ``starts``
    is the day from which a price that is announced will be charged, ``page`` where it
    stands and ``read`` when that was read last, ``None`` where the copy bears no date.
    """

    unit: str
    usd: Mapping[str, float]
    per: float
    free: float
    page: str
    read: date | None
    starts: date | None = None

    def each(self, tier: str) -> float:
        """Return the price of one unit in dollars."""
        return self.usd[tier] / self.per

    @property
    def free_usd(self) -> float:
        """Return what the free units are worth in dollars."""
        return self.free * self.each("1")


Prices = Mapping[str, Price]


def text() -> str:
    """Return the file of prices that comes with the program."""
    return resources.files("cli").joinpath("prices.json").read_text(encoding="utf-8")


@cache
def built_in() -> Prices:
    """Return the prices that come with the program."""
    return parse(text())


def read(content: str) -> Prices:
    """Read a file of the shape that ``text`` has; it must name every price, and no other.

    Raises ``ConfigurationError`` with every problem.
    """
    prices = parse(content)
    known = built_in()
    problems = [f"the price {name} is missing" for name in known if name not in prices]
    problems += [f"there is no price {name}" for name in prices if name not in known]
    problems += [
        f"{name}: unit must be {known[name].unit}"
        for name, price in prices.items()
        if name in known and price.unit != known[name].unit
    ]
    if problems:
        raise ConfigurationError(problems)
    return prices


def parse(content: str) -> Prices:
    """Read a file of prices; raises ``ConfigurationError`` with every problem."""
    try:
        data = json.loads(content)
    except ValueError as error:
        raise ConfigurationError([f"the prices are not JSON: {error}"]) from None
    if not isinstance(data, dict) or not isinstance(data.get("prices"), dict):
        raise ConfigurationError(['the prices must be {"currency": "USD", "prices": {…}}'])
    if data.get("currency") != "USD":
        raise ConfigurationError(['the prices must be in "currency": "USD"'])
    prices, problems = {}, []
    for name, entry in data["prices"].items():
        try:
            prices[name] = _price(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(f"{name}: {_told(error)}")
    if problems:
        raise ConfigurationError(problems)
    return prices


def _told(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _price(entry: dict[str, Any]) -> Price:
    return Price(
        unit=_text(entry["unit"], "unit"),
        usd={tier: _amount(entry["usd"][tier], f"usd of tier {tier}") for tier in TIERS},
        per=_amount(entry["per"], "per", above=0),
        free=_amount(entry["free"], "free"),
        page=_text(entry["page"], "page"),
        read=_date(entry["read"]),
        starts=_date(entry.get("from")),
    )


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} must be text")
    return value


def _amount(value: object, what: str, *, above: float = -1) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0 or value <= above:  # type: ignore[arg-type,operator]
        raise ValueError(f"{what} must be a number, {'more than' if above == 0 else 'at least'} 0")
    return float(value)  # type: ignore[arg-type]


def _date(value: str | None) -> date | None:
    return None if value is None else date.fromisoformat(value)

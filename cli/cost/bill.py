"""A month's bill: what was used times list prices, minus the free tier."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

from shared.core.errors import ConfigurationError

#: Cloud Run's two price tiers of regions.
TIERS = ("1", "2")

#: The section whose lines are services of their own.
REST = "Everything else"


@dataclass(frozen=True)
class Price:
    """The list price of one thing.

    ``usd`` is the price of ``per`` units, by tier. ``free`` units a month cost nothing; they
    are worth their tier 1 price in every region, as Cloud Run counts them. ``page`` is the
    price page, ``read`` the day it was read (``None``: the stored copy has no date), and
    ``starts`` the day from which an announced price will be charged.
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
        """The value of the free units in dollars."""
        return self.free * self.each("1")


Prices = Mapping[str, Price]


@dataclass(frozen=True)
class Use:
    """How much of one priced thing a part of the pipeline uses in a month, and why."""

    section: str
    name: str
    price: str
    quantity: float
    why: str

    @property
    def service(self) -> str:
        """The service that charges for it."""
        return self.name if self.section == REST else self.section.partition(",")[0]


@dataclass(frozen=True)
class Item:
    """One line of a bill. Amounts are dollars, rounded to cents, so that lines add up."""

    use: Use
    price: Price
    each: float
    gross: float
    free: float

    @property
    def usd(self) -> float:
        """The amount to pay."""
        return round(self.gross - self.free, 2)


@dataclass(frozen=True)
class Bill:
    """A month's lines. ``announced`` are lines whose price is not charged yet."""

    items: Sequence[Item]
    announced: Sequence[Item] = ()

    @property
    def total(self) -> float:
        """The sum of all lines."""
        return _sum(self.items)

    @property
    def announced_total(self) -> float:
        """The sum that announced prices will add."""
        return _sum(self.announced)

    def services(self) -> dict[str, float]:
        """Return the sum of each service, the most expensive first."""
        sums: dict[str, list[Item]] = {}
        for item in self.items:
            sums.setdefault(item.use.service, []).append(item)
        totals = {name: _sum(items) for name, items in sums.items()}
        return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


def _sum(items: Iterable[Item]) -> float:
    return round(sum(item.usd for item in items), 2)


def bill(uses: Iterable[Use], prices: Prices, tier: str, *, free: bool) -> Bill:
    """Price a month's use in a region of ``tier``.

    The free units of a price go to its uses in their order; ``free=False`` counts none, as
    for a second project of one billing account.
    """
    left = {name: price.free_usd if free else 0.0 for name, price in prices.items()}
    items: list[Item] = []
    announced: list[Item] = []
    for use in uses:
        price = prices[use.price]
        each = price.each(tier)
        exact = use.quantity * each
        taken = min(exact, left[use.price])
        left[use.price] -= taken
        gross = round(exact, 2)
        # Rounded so that gross minus free is the rest, each of the three in cents.
        item = Item(use, price, each, gross=gross, free=round(gross - round(exact - taken, 2), 2))
        (announced if price.starts else items).append(item)
    return Bill(items, announced)


# prices


def price_text() -> str:
    """Return the price file that comes with the program."""
    return resources.files("cli.cost").joinpath("prices.json").read_text(encoding="utf-8")


@cache
def built_in_prices() -> Prices:
    """Return the prices that come with the program."""
    return _parse(price_text())


def read_prices(content: str) -> Prices:
    """Read a price file; it must name every built-in price, and no other.

    Raises ``ConfigurationError`` with every problem.
    """
    prices, known = _parse(content), built_in_prices()
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


def _parse(content: str) -> Prices:
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
            prices[name] = Price(
                unit=_text(entry["unit"], "unit"),
                usd={tier: _amount(entry["usd"][tier], f"usd of tier {tier}") for tier in TIERS},
                per=_amount(entry["per"], "per", above_zero=True),
                free=_amount(entry["free"], "free"),
                page=_text(entry["page"], "page"),
                read=_date(entry["read"]),
                starts=_date(entry.get("from")),
            )
        except KeyError as error:
            problems.append(f"{name}: {error} is missing")
        except (TypeError, ValueError, AttributeError) as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ConfigurationError(problems)
    return prices


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{what} must be text")
    return value


def _amount(value: Any, what: str, *, above_zero: bool = False) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0 or (above_zero and not value):
        raise ValueError(f"{what} must be a number, {'more than' if above_zero else 'at least'} 0")
    return float(value)


def _date(value: str | None) -> date | None:
    return None if value is None else date.fromisoformat(value)

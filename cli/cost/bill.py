"""A month's bill: quantities times prices, less what is free. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cli.cost.prices import Price, Prices

#: The section whose lines are services of their own.
REST = "Everything else"


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
        """Whose bill it is: the section's service, or that of the line itself."""
        return self.name if self.section == REST else self.section.partition(",")[0]


@dataclass(frozen=True)
class Item:
    """One line of a bill. Amounts are in dollars, rounded to cents, so that lines add up."""

    use: Use
    price: Price
    each: float
    gross: float
    free: float

    @property
    def usd(self) -> float:
        """What is to be paid."""
        return round(self.gross - self.free, 2)


@dataclass(frozen=True)
class Bill:
    """A month's lines, and those that will come once an announced price is charged."""

    items: Sequence[Item]
    announced: Sequence[Item] = ()

    @property
    def total(self) -> float:
        """The sum of all lines."""
        return _sum(self.items)

    @property
    def announced_total(self) -> float:
        """What announced prices will add."""
        return _sum(self.announced)

    def services(self) -> dict[str, float]:
        """Return the sum of each service, the dearest first."""
        sums: dict[str, list[Item]] = {}
        for item in self.items:
            sums.setdefault(item.use.service, []).append(item)
        totals = {name: _sum(items) for name, items in sums.items()}
        return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


def _sum(items: Iterable[Item]) -> float:
    return round(sum(item.usd for item in items), 2)


def bill(uses: Iterable[Use], prices: Prices, tier: str, *, free: bool) -> Bill:
    """Price what was used in a region of ``tier``.

    The free units of a price are used up by its uses in their order; ``free=False``
    counts none, as for a second project of one billing account.
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
        item = Item(use, price, each, gross=round(exact, 2), free=_covered(exact, taken))
        (announced if price.starts else items).append(item)
    return Bill(items, announced)


def _covered(exact: float, taken: float) -> float:
    """Return the free part such that gross less free is what is left, both in cents."""
    return round(round(exact, 2) - round(exact - taken, 2), 2)

"""A bill as people read it: a table, what dominates, and how it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from rich.table import Table

from cli.cost.bill import Bill, Item
from cli.cost.plan import Plan
from cli.cost.prices import Prices
from cli.ui.console import screen, styled

_UNBOUNDED = 10_000

_SHORT = ((1e12, "T"), (1e9, "G"), (1e6, "M"))


def show(
    plan: Plan, bills: Sequence[Bill], prices: Prices, tier: str, *, free: bool, explain: bool
) -> None:
    """Print the last bill beside the first, and what is to be said of all of them."""
    _print_title(plan, tier, free=free)
    _print_table(bills)
    if explain:
        _print_reasons(bills[-1])
    _print_summary(bills)
    _print_remarks(bills[-1], prices)


def _print_title(plan: Plan, tier: str, *, free: bool) -> None:
    parts = [f"{_number(plan.hours)} hours of recordings a month"]
    if plan.sftp_hours:
        parts.append(f"{_number(plan.sftp_hours)} hours on the SFTP server")
    screen.line((screen.marks.dot.join(parts), "bold"))
    preset = f"{plan.preset} at {plan.audio_bits / 1000:.4g} kbit/s"
    each = f"{_number(plan.meeting_minutes)} minutes each"
    region = f"a tier {tier} region"
    facts = [preset, each, region, "USD"] + ([] if free else ["no free tier"])
    screen.line((screen.marks.dot.join(facts), "dim"), "\n")


@dataclass(frozen=True)
class _Layout:
    """Which columns there are: quantities and prices, and the first month beside the last."""

    details: bool
    first: bool

    def of(self, one: Any, last: Any) -> list[Any]:
        """Return what stands in the columns of the months."""
        return [one, last] if self.first else [last]


#: From wide to narrow: the first that fits is taken, so that no number is ever cut.
_LAYOUTS = (_Layout(True, True), _Layout(True, False), _Layout(False, False))


def _print_table(bills: Sequence[Bill]) -> None:
    console = screen.out
    layouts = [one for one in _LAYOUTS if len(bills) > 1 or not one.first]
    tables = [_table(bills, layout) for layout in layouts]
    unbounded = console.options.update(width=_UNBOUNDED)
    fitting = (
        one for one in tables if console.measure(one, options=unbounded).maximum <= console.width
    )
    console.print(next(fitting, tables[-1]))


def _table(bills: Sequence[Bill], layout: _Layout) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    details = ("quantity", "for one", "free") if layout.details else ()
    for name in (*details, *layout.of("month 1", f"month {len(bills)}")):
        table.add_column(name, justify="right", no_wrap=True)
    first = {(item.use.section, item.use.name): item for item in bills[0].items}
    for section, items in _by_section(bills[-1]).items():
        table.add_row(styled((section, "bold")))
        for item in items:
            before = first[section, item.use.name]
            table.add_row(*(styled(cell) for cell in _cells(item, before, layout)))
    table.add_row()
    sums = layout.of(_usd(bills[0].total), _usd(bills[-1].total))
    cells = ("Total", *("" for _ in details), *sums)
    table.add_row(*(styled((cell, "bold")) for cell in cells))
    return table


def _by_section(bill: Bill) -> dict[str, list[Item]]:
    sections: dict[str, list[Item]] = {}
    for item in bill.items:
        if item.use.quantity:
            sections.setdefault(item.use.section, []).append(item)
    return sections


def _cells(item: Item, before: Item, layout: _Layout) -> list[tuple[str, str]]:
    cells = [(f"  {item.use.name}", "")]
    if layout.details:
        free = _usd(-item.free) if item.free else ""
        cells += [(quantity(item), ""), (_rate(item), "dim"), (free, "green")]
    sums = layout.of(before.usd, item.usd)
    return cells + [(_usd(usd), "" if usd else "dim") for usd in sums]


def quantity(item: Item) -> str:
    """Return how much, with its unit: ``24,000 vCPU-s``, ``0.0024 GiB``."""
    return f"{_number(item.use.quantity)} {item.price.unit}"


def _number(value: float) -> str:
    for least, letter in _SHORT:
        if value >= least * 10:
            return f"{value / least:,.1f}".removesuffix(".0") + f" {letter}"
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def _rate(item: Item) -> str:
    per = {1: "", 1000: "/ 1k", 1024: "/ 1,024", 10_000: "/ 10k", 100_000: "/ 100k", 1e6: "/ 1M"}
    amount = item.each * item.price.per
    text = f"{amount:.7f}".rstrip("0") if amount else "0"
    cents = text + "0" * max(0, 2 - len(text.partition(".")[2]))
    return f"{cents} {per.get(item.price.per, f'/ {item.price.per:g}')}".rstrip()


def _usd(value: float) -> str:
    return f"{value:,.2f}"


def _print_reasons(bill: Bill) -> None:
    screen.line("\n", ("How the quantities come about", "bold"))
    for section, items in _by_section(bill).items():
        screen.line(section)
        for item in items:
            screen.line(f"  {item.use.name}: ", (item.use.why, "dim"))


def _print_summary(bills: Sequence[Bill]) -> None:
    last = bills[-1]
    shares = [f"{name} {_usd(usd)}" for name, usd in last.services().items() if usd]
    if last.total:
        screen.line("\n", ("Most of it: ", "dim"), screen.marks.dot.join(shares[:3]))
    if len(bills) > 1:
        screen.line(
            ("Month 1: ", "dim"), _usd(bills[0].total),
            (f"{screen.marks.dot}month {len(bills)}: ", "dim"), _usd(last.total),
            (f"{screen.marks.dot}all {len(bills)} together: ", "dim"),
            _usd(round(sum(bill.total for bill in bills), 2)),
        )  # fmt: skip


def _print_remarks(bill: Bill, prices: Prices) -> None:
    if bill.announced:
        starts = min(item.price.starts for item in bill.announced if item.price.starts)
        names = " and ".join(dict.fromkeys(item.use.name for item in bill.announced))
        screen.line(
            (f"From {starts} on ", "yellow"),
            (f"{names} will cost {_usd(bill.announced_total)} more.", "yellow"),
        )
    screen.line((f"List prices, read {_dates(prices)}; docs/cost.md says where.", "dim"))


def _dates(prices: Prices) -> str:
    dates: list[date] = sorted(price.read for price in prices.values() if price.read)
    if not dates:
        return "on an unknown day"
    return f"from {dates[0]} to {dates[-1]}" if dates[0] != dates[-1] else f"on {dates[0]}"

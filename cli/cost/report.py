"""The estimate as people and programs read it: a table, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rich.table import Table

from cli.cost.bill import Bill, Item, Prices
from cli.cost.plan import Plan
from cli.ui.console import screen, styled


def as_json(plan: Plan, made: Sequence[Bill], tier: str, *, free: bool) -> str:
    """Return all months and lines as one JSON object."""
    document = {
        "currency": "USD",
        "tier": tier,
        "free_tier": free,
        "hours": plan.hours,
        "sftp_hours": plan.sftp_hours,
        "preset": plan.preset,
        "bits_per_s": plan.audio_bits,
        "total": round(sum(one.total for one in made), 2),
        "months": [
            {
                "month": number,
                "total": one.total,
                "items": [_line(item) for item in one.items],
                "announced": [_line(item) for item in one.announced],
            }
            for number, one in enumerate(made, 1)
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=2)


def _line(item: Item) -> dict[str, Any]:
    return {
        "section": item.use.section,
        "name": item.use.name,
        "price": item.use.price,
        "quantity": item.use.quantity,
        "unit": item.price.unit,
        "usd_each": item.each,
        "gross": item.gross,
        "free": item.free,
        "usd": item.usd,
        "from": item.price.starts.isoformat() if item.price.starts else None,
        "why": item.use.why,
    }


def print_bills(
    plan: Plan, made: Sequence[Bill], prices: Prices, tier: str, *, free: bool, explain: bool
) -> None:
    """Print the first and the last month, and what is worth knowing about all of them."""
    last, dot = made[-1], screen.marks.dot
    parts = [f"{_number(plan.hours)} hours of recordings per month"]
    if plan.sftp_hours:
        parts.append(f"{_number(plan.sftp_hours)} hours on the SFTP server")
    screen.line((dot.join(parts), "bold"))
    facts = [
        f"{plan.preset} at {plan.audio_bits / 1000:.4g} kbit/s",
        f"{_number(plan.meeting_minutes)} minutes each",
        f"tier {tier} region",
        "USD",
        *([] if free else ["no free tier"]),
    ]
    screen.line((dot.join(facts), "dim"), "\n")
    console, table = screen.out, _table(made, details=True)
    unlimited = console.options.update(width=10_000)
    if console.measure(table, options=unlimited).maximum > console.width:
        table = _table(made, details=False)  # numbers are never cut
    console.print(table)
    if explain:
        screen.line("\n", ("How the quantities are calculated", "bold"))
        for section, items in _by_section(last).items():
            screen.line(section)
            for item in items:
                screen.line(f"  {item.use.name}: ", (item.use.why, "dim"))
    _print_summary(made, prices)


def _table(made: Sequence[Bill], *, details: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("", overflow="fold")
    columns = ["quantity", "unit price", "free tier"] if details else []
    for name in (*columns, "month 1", f"month {len(made)}"):
        table.add_column(name, justify="right", no_wrap=True)
    first = {(item.use.section, item.use.name): item for item in made[0].items}
    for section, items in _by_section(made[-1]).items():
        table.add_row(styled((section, "bold")))
        for item in items:
            cells = [(f"  {item.use.name}", "")]
            if details:
                cells += [
                    (f"{_number(item.use.quantity)} {item.price.unit}", ""),
                    (_rate_text(item), "dim"),
                    (_usd(-item.free) if item.free else "", "green"),
                ]
            before = first[section, item.use.name].usd
            cells += [(_usd(usd), "" if usd else "dim") for usd in (before, item.usd)]
            table.add_row(*map(styled, cells))
    table.add_row()
    totals = ["Total", *("" for _ in columns), _usd(made[0].total), _usd(made[-1].total)]
    table.add_row(*(styled((cell, "bold")) for cell in totals))
    return table


def _by_section(one: Bill) -> dict[str, list[Item]]:
    sections: dict[str, list[Item]] = {}
    for item in one.items:
        if item.use.quantity:
            sections.setdefault(item.use.section, []).append(item)
    return sections


def _number(value: float) -> str:
    for least, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if value >= least * 10:
            return f"{value / least:,.1f}".removesuffix(".0") + f" {letter}"
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2g}"


def _rate_text(item: Item) -> str:
    per = {1: "", 1000: "/ 1k", 1024: "/ 1,024", 10_000: "/ 10k", 100_000: "/ 100k", 1e6: "/ 1M"}
    amount = item.each * item.price.per
    text = f"{amount:.7f}".rstrip("0") if amount else "0"
    cents = text + "0" * max(0, 2 - len(text.partition(".")[2]))
    return f"{cents} {per.get(item.price.per, f'/ {item.price.per:g}')}".rstrip()


def _usd(value: float) -> str:
    return f"{value:,.2f}"


def _print_summary(made: Sequence[Bill], prices: Prices) -> None:
    last, dot = made[-1], screen.marks.dot
    shares = [f"{name} {_usd(usd)}" for name, usd in last.services().items() if usd]
    if shares:
        screen.line("\n", ("Largest: ", "dim"), dot.join(shares[:3]))
    if len(made) > 1:
        total = _usd(round(sum(one.total for one in made), 2))
        screen.line((f"All {len(made)} months: ", "dim"), total)
    if last.announced:
        starts = min(item.price.starts for item in last.announced if item.price.starts)
        names = " and ".join(dict.fromkeys(item.use.name for item in last.announced))
        more = f"From {starts}, {names} will cost {_usd(last.announced_total)} more."
        screen.line((more, "yellow"))
    days = sorted(price.read for price in prices.values() if price.read)
    read = f", read from {days[0]} to {days[-1]}" if days else ""
    screen.line((f"List prices{read}; see docs/cost.md.", "dim"))

"""``audio-pipeline cost``: estimates what a month of recordings costs on Google Cloud."""

from __future__ import annotations

import json as json_format
import math
from collections.abc import Callable, Sequence
from typing import Any

import click
from rich.table import Table

from cli import exits
from cli.cost import bill as bills
from cli.cost.bill import Bill, Item, Prices, bill
from cli.cost.plan import Plan
from cli.cost.usage import uses
from cli.options import Command
from cli.ui.console import screen, styled
from cli.ui.text import shown
from shared.config.parsers import MP3_MAX_BITRATE
from shared.config.parsers import bitrate as read_bitrate
from shared.core.errors import ConfigurationError
from shared.media.presets import PRESETS, WITH_BITRATE

_MOST_MONTHS = 600
_MOST = 1e15  # beyond it a float no longer counts cents


def _amount(what: str, *, above_zero: bool = False) -> Callable[..., float]:
    """Return a click callback that reads a finite number from 0 to ``_MOST``."""
    least = f"{'more than' if above_zero else 'at least'} 0 and at most {_MOST:.0e}"

    def read(_: click.Context, parameter: click.Parameter, value: str | None) -> float:
        if value is None:
            raise click.UsageError("--hours is required, for example --hours 100")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number <= _MOST or (above_zero and not number):
            raise click.BadParameter(
                f"{value!r} is not a number of {what}; use a number such as 100, {least}",
                param=parameter,
            )
        return number

    return read


def _rate(_: click.Context, parameter: click.Parameter, value: str | None) -> int:
    if value is None:
        return 0
    try:
        return read_bitrate(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a bit rate; use one such as 128k, from 8k to 510k", param=parameter
        ) from None


def _print_prices(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        click.echo(bills.price_text(), nl=False)
        context.exit(exits.OK)


@click.command(
    cls=Command,
    examples="audio-pipeline cost --hours 100\n"
    "audio-pipeline cost --hours 1000 --drives 50 --no-free-tier\n"
    "audio-pipeline cost --print-prices > prices.json",
)
@click.option(
    "--hours",
    metavar="NUMBER",
    callback=_amount("hours"),
    help="Hours of recordings per month.  [required]",
)
@click.option(
    "--sftp-hours",
    metavar="NUMBER",
    callback=_amount("hours"),
    default="0",
    show_default=True,
    help="Hours of audio per month on the SFTP server.",
)
@click.option(
    "--meeting-minutes",
    metavar="NUMBER",
    callback=_amount("minutes", above_zero=True),
    default="50",
    show_default=True,
    help="Length of one recording.",
)
@click.option(
    "--gb-per-hour",
    metavar="NUMBER",
    callback=_amount("gigabytes"),
    default="2",
    show_default=True,
    help="Size of one hour of video.",
)
@click.option(
    "--drives",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Watched users and shared drives.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="mp3",
    show_default=True,
    help="Output format.",
)
@click.option(
    "--bitrate",
    metavar="RATE",
    callback=_rate,
    help=f"Bit rate for {' and '.join(WITH_BITRATE)}.  [default: 128k]",
)
@click.option(
    "--tier",
    type=click.Choice(bills.TIERS),
    default="1",
    show_default=True,
    help="Cloud Run price tier of the region.",
)
@click.option("--mirror", is_flag=True, help="Copy compressed files back to the SFTP server.")
@click.option("--static-ip", is_flag=True, help="Connect to the SFTP server from a fixed address.")
@click.option(
    "--months",
    type=click.IntRange(1, _MOST_MONTHS),
    default=12,
    show_default=True,
    help="Number of months to keep adding audio.",
)
@click.option("--no-free-tier", is_flag=True, help="Ignore the free tier.")
@click.option("--explain", is_flag=True, help="Show how each quantity is calculated.")
@click.option(
    "--prices",
    "price_file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Use the prices of this file; start from --print-prices.",
)
@click.option(
    "--print-prices",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_prices,
    help="Print the built-in prices as JSON and exit.",
)
@click.option("--json", is_flag=True, help="Print all months and lines as one JSON object.")
def cost(
    preset: str,
    bitrate: int,
    tier: str,
    months: int,
    no_free_tier: bool,
    explain: bool,
    price_file: Any,
    json: bool,
    **plan: Any,
) -> int:
    """Estimate the monthly cost on Google Cloud.

    The estimate uses list prices in US dollars for the resources of infra/terraform. Audio
    is kept, so storage grows every month: the table shows the first and the last one.
    """
    if bitrate and preset not in WITH_BITRATE:
        raise click.UsageError(
            f"--bitrate works with {' and '.join(WITH_BITRATE)} only, not with {preset}"
        )
    if preset == "mp3" and bitrate > MP3_MAX_BITRATE:
        raise click.UsageError("--bitrate is at most 320k for mp3; use less, or --preset opus")
    month = Plan(preset=preset, bits_per_s=bitrate, **plan)
    prices = bills.built_in_prices() if price_file is None else _read_prices(price_file)
    free = not no_free_tier
    made = [bill(uses(month, number), prices, tier, free=free) for number in range(1, months + 1)]
    if json:
        click.echo(_document(month, made, tier, free=free))
        return exits.OK
    _print_title(month, tier, free=free)
    console, table = screen.out, _table(made, details=True)
    unlimited = console.options.update(width=10_000)
    if console.measure(table, options=unlimited).maximum > console.width:
        table = _table(made, details=False)  # numbers are never cut
    console.print(table)
    if explain:
        _print_reasons(made[-1])
    _print_summary(made, prices)
    return exits.OK


def _read_prices(file: Any) -> Prices:
    try:
        return bills.read_prices(file.read())
    except UnicodeDecodeError:
        raise click.UsageError(f"{shown(file.name)} is not UTF-8 text") from None
    except ConfigurationError as error:
        problems = "\n".join(f"  {shown(problem)}" for problem in error.problems)
        raise click.UsageError(
            f"{shown(file.name)} is not a valid price file; start from --print-prices\n{problems}"
        ) from None


def _document(plan: Plan, made: list[Bill], tier: str, *, free: bool) -> str:
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
    return json_format.dumps(document, ensure_ascii=False, indent=2)


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


def _print_title(plan: Plan, tier: str, *, free: bool) -> None:
    parts = [f"{_number(plan.hours)} hours of recordings per month"]
    if plan.sftp_hours:
        parts.append(f"{_number(plan.sftp_hours)} hours on the SFTP server")
    screen.line((screen.marks.dot.join(parts), "bold"))
    facts = [
        f"{plan.preset} at {plan.audio_bits / 1000:.4g} kbit/s",
        f"{_number(plan.meeting_minutes)} minutes each",
        f"tier {tier} region",
        "USD",
        *([] if free else ["no free tier"]),
    ]
    screen.line((screen.marks.dot.join(facts), "dim"), "\n")


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


def _print_reasons(one: Bill) -> None:
    screen.line("\n", ("How the quantities are calculated", "bold"))
    for section, items in _by_section(one).items():
        screen.line(section)
        for item in items:
            screen.line(f"  {item.use.name}: ", (item.use.why, "dim"))


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

"""``audio-pipeline cost``: what a month of recordings costs on Google Cloud."""

from __future__ import annotations

import json as json_format
import math
from collections.abc import Callable
from typing import Any

import click

from cli import exits
from cli.cost import prices as price_list
from cli.cost import table
from cli.cost.bill import Bill, Item, bill
from cli.cost.plan import PRESETS, Plan
from cli.cost.usage import uses
from cli.ui.text import shown
from shared.config.parsers import MP3_MAX_BITRATE
from shared.config.parsers import bitrate as read_bitrate
from shared.core.errors import ConfigurationError

_MOST_MONTHS = 600
_MOST = 1e15  # beyond it cents are lost


_Read = Callable[[click.Context, click.Parameter, str | None], float]


def _amount(what: str, *, above_zero: bool = False) -> _Read:
    """Return what reads a number that is neither negative nor endless."""
    least = f"{'more than' if above_zero else 'at least'} 0 and at most {_MOST:.0e}"

    def read(_: click.Context, parameter: click.Parameter, value: str | None) -> float:
        if value is None:
            raise click.UsageError("Say for how many hours: audio-pipeline cost --hours 100")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number <= _MOST or (above_zero and not number):
            told = f"{value!r} is not a number of {what}: give one such as 100, {least}"
            raise click.BadParameter(told, param=parameter)
        return number

    return read


def _rate(_: click.Context, parameter: click.Parameter, value: str | None) -> int:
    if value is None:
        return 0
    try:
        return read_bitrate(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a bit rate: give one such as 128k, from 8k to 510k", param=parameter
        ) from None


@click.command()
@click.option(
    "--hours",
    metavar="NUMBER",
    callback=_amount("hours"),
    help="Hours of recordings a month.  [required]",
)
@click.option(
    "--sftp-hours",
    metavar="NUMBER",
    callback=_amount("hours"),
    default="0",
    show_default=True,
    help="Hours of sound a month on the SFTP server.",
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
    help="Size of an hour of video.",
)
@click.option(
    "--drives",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Users and shared drives that are watched.",
)
@click.option(
    "--preset",
    type=click.Choice(PRESETS),
    default="mp3",
    show_default=True,
    help="What is made of a recording.",
)
@click.option("--bitrate", metavar="RATE", callback=_rate, help="Of mp3 and opus.  [default: 128k]")
@click.option(
    "--tier",
    type=click.Choice(price_list.TIERS),
    default="1",
    show_default=True,
    help="Cloud Run's tier of the region.",
)
@click.option("--mirror", is_flag=True, help="Compressed files go back to the SFTP server too.")
@click.option("--static-ip", is_flag=True, help="The SFTP server is reached from a fixed address.")
@click.option(
    "--months",
    type=click.IntRange(1, _MOST_MONTHS),
    default=12,
    show_default=True,
    help="For how long the audio piles up.",
)
@click.option("--no-free-tier", is_flag=True, help="Another project has used up what is free.")
@click.option("--explain", is_flag=True, help="Say how each quantity comes about.")
@click.option(
    "--prices",
    "price_file",
    type=click.File(encoding="utf-8"),
    metavar="FILE",
    help="Prices of the shape that --print-prices prints.",
)
@click.option(
    "--print-prices",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, wanted: _print_prices(ctx) if wanted else None,
    help="Print the built-in prices and where each stands.",
)
@click.option("--json", is_flag=True, help="Print one object with every month's lines.")
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
    """Estimate what a month with so many HOURS of recordings costs on Google Cloud.

    List prices in US dollars, for what infra/terraform sets up. The audio is kept, so
    that each month costs more than the one before it: the table shows the last one.
    """  # fmt: skip
    _check_rate(preset, bitrate)
    month = Plan(preset=preset, bits_per_s=bitrate, **plan)
    prices = price_list.built_in() if price_file is None else _read_prices(price_file)
    free = not no_free_tier
    bills = [bill(uses(month, number), prices, tier, free=free) for number in range(1, months + 1)]
    if json:
        click.echo(_document(month, bills, tier, free=free))
    else:
        table.show(month, bills, prices, tier, free=free, explain=explain)
    return exits.OK


def _print_prices(ctx: click.Context) -> None:
    click.echo(price_list.text(), nl=False)
    ctx.exit(exits.OK)


def _check_rate(preset: str, rate: int) -> None:
    if not rate:
        return
    if preset not in ("mp3", "opus"):
        raise click.UsageError(f"--bitrate is of mp3 and opus; leave it out with {preset}")
    if preset == "mp3" and rate > MP3_MAX_BITRATE:
        raise click.UsageError("mp3 has at most 320k; give less, or --preset opus")


def _read_prices(file: Any) -> price_list.Prices:
    try:
        return price_list.read(file.read())
    except UnicodeDecodeError:
        raise click.UsageError(f"{shown(file.name)} is not a text in UTF-8") from None
    except ConfigurationError as error:
        problems = "\n".join(f"  {shown(problem)}" for problem in error.problems)
        told = f"{shown(file.name)} cannot be used; begin with --print-prices\n{problems}"
        raise click.UsageError(told) from None


def _document(plan: Plan, bills: list[Bill], tier: str, *, free: bool) -> str:
    document = {
        "currency": "USD",
        "tier": tier,
        "free_tier": free,
        "hours": plan.hours,
        "sftp_hours": plan.sftp_hours,
        "preset": plan.preset,
        "bits_per_s": plan.audio_bits,
        "total": round(sum(one.total for one in bills), 2),
        "months": [
            {
                "month": number,
                "total": one.total,
                "items": [_line(item) for item in one.items],
                "announced": [_line(item) for item in one.announced],
            }
            for number, one in enumerate(bills, 1)
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

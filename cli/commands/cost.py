"""``audio-pipeline cost``: estimates what a month of recordings costs on Google Cloud."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import click

from cli import exits
from cli.cost import bill as bills
from cli.cost import report
from cli.cost.bill import Prices, bill
from cli.cost.plan import Plan
from cli.cost.usage import uses
from cli.options import Command
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
        click.echo(report.as_json(month, made, tier, free=free))
    else:
        report.print_bills(month, made, prices, tier, free=free, explain=explain)
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

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from cli.cost.bill import TIERS as ALL_TIERS
from cli.cost.bill import Bill, bill, built_in_prices, price_text
from cli.cost.plan import Plan
from cli.cost.usage import uses
from cli.main import group
from shared.media.presets import PRESETS, WITH_BITRATE
from tests.paths import ROOT

HOURS = st.one_of(
    st.just(0.0), st.floats(0, 10_000), st.floats(0, 1e9), st.integers(0, 10**9).map(float)
)
PLANS = st.fixed_dictionaries(
    {
        "meeting_minutes": st.floats(0.1, 3000),
        "sftp_hours": st.floats(0, 1e6),
        "preset": st.sampled_from(list(PRESETS)),
        "bits_per_s": st.sampled_from([0, 8_000, 128_000, 320_000]),
        "drives": st.integers(1, 5000),
        "gb_per_hour": st.floats(0, 20),
        "mirror": st.booleans(),
        "static_ip": st.booleans(),
    }
)
TIERS = st.sampled_from(ALL_TIERS)
MONTHS = st.integers(1, 120)


def month_of(plan: Plan, month: int, tier: str = "1", *, free: bool = True) -> Bill:
    return bill(uses(plan, month), built_in_prices(), tier, free=free)


@given(HOURS, PLANS, TIERS, MONTHS, st.booleans())
def test_the_total_is_the_sum_of_the_lines(
    hours: float, plan: dict[str, Any], tier: str, month: int, free: bool
) -> None:
    made = month_of(Plan(hours=hours, **plan), month, tier, free=free)

    assert made.total == pytest.approx(sum(item.usd for item in made.items), abs=0.001, rel=1e-12)
    assert made.total == pytest.approx(sum(made.services().values()), abs=0.001, rel=1e-12)


@given(HOURS, PLANS, TIERS, MONTHS)
def test_free_amounts_make_no_line_negative(
    hours: float, plan: dict[str, Any], tier: str, month: int
) -> None:
    for item in month_of(Plan(hours=hours, **plan), month, tier).items:
        assert item.usd >= 0, item
        assert 0 <= item.free <= item.gross, item
        assert item.usd == pytest.approx(item.gross - item.free, abs=0.001), item


@given(HOURS, PLANS, TIERS, MONTHS)
def test_each_free_amount_is_given_once(
    hours: float, plan: dict[str, Any], tier: str, month: int
) -> None:
    items = month_of(Plan(hours=hours, **plan), month, tier).items
    for name, price in built_in_prices().items():
        lines = [item for item in items if item.use.price == name]
        taken = sum(item.free for item in lines)
        assert taken <= price.free_usd + 0.01 * (len(lines) + 1), name


@given(HOURS, HOURS, PLANS, TIERS, MONTHS, st.booleans())
def test_more_hours_never_cost_less(
    one: float, other: float, plan: dict[str, Any], tier: str, month: int, free: bool
) -> None:
    few, many = sorted([one, other])
    less, more = (
        month_of(Plan(hours=hours, **plan), month, tier, free=free) for hours in (few, many)
    )
    # Each line is rounded to a cent, and shares what is free with others.
    assert more.total >= less.total - 0.01 * len(more.items)


@given(HOURS, PLANS, TIERS, MONTHS)
def test_later_months_and_no_free_tier_never_cost_less(
    hours: float, plan: dict[str, Any], tier: str, month: int
) -> None:
    made = Plan(hours=hours, **plan)
    now = month_of(made, month, tier).total
    cents = 0.5

    assert month_of(made, month + 1, tier).total >= now - cents
    assert month_of(made, month, tier, free=False).total >= now
    assert month_of(made, month, "2").total >= month_of(made, month, "1").total - cents


def test_free_seconds_go_to_the_first_lines_of_their_price() -> None:
    items = [
        item
        for item in month_of(Plan(hours=2800), 1).items
        if item.use.price == "run_cpu" and item.use.quantity
    ]

    # 2,800 hours are 170,800 vCPU-s; 9,200 of the 180,000 free ones are left for the others.
    assert [(item.use.name, item.usd) for item in items] == [
        ("extract-audio", 0.0),
        ("notify", 0.0),
        ("maintain, every 15 minutes", round((3041.67 + 10220 - 9200) * 0.000024, 2)),
        ("requeue, every minute", round(24090 * 0.000024, 2)),
    ]


def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [
        Path(sys.executable).with_name("audio-pipeline"),
        "cost",
        *arguments,
    ]
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    return subprocess.run(
        command, env=env | {"PYTHONUTF8": "1"} | environ, capture_output=True, text=True
    )


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def test_the_page_shows_the_output_of_the_command_once() -> None:
    page = (ROOT / "docs/cost.md").read_text()
    shown = re.findall(
        r"^\$ audio-pipeline cost ([^\n]+)\n(.+?)^```$", page, re.MULTILINE | re.DOTALL
    )

    [(arguments, printed)] = shown
    assert lines(printed) == lines(run(*arguments.split(), COLUMNS="100").stdout)


def test_the_page_names_every_price_where_it_was_read() -> None:
    page = (ROOT / "docs/cost.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \| (\S+) \| (\S+) \| (\S+) \|", page, re.MULTILINE)

    said = {name: (float(one), float(two), page, read) for name, one, two, page, read in rows}
    assert said == {
        name: (price.usd["1"], price.usd["2"], price.page, str(price.read or "undated"))
        for name, price in built_in_prices().items()
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--hours is required, for example --hours 100"),
        (["--hours", "many"], "use a number such as 100"),
        (["--hours", "-1"], "at least 0"),
        (["--hours", "inf"], "at least 0"),
        (["--hours", "nan"], "at least 0"),
        (["--hours", "1e300"], "at most"),
        (["--hours", "1", "--meeting-minutes", "0"], "more than 0"),
        (["--hours", "1", "--bitrate", "loud"], "such as 128k"),
        (["--hours", "1", "--bitrate", "400k"], "at most 320k"),
        (
            ["--hours", "1", "--preset", "copy", "--bitrate", "64k"],
            f"{' and '.join(WITH_BITRATE)} only",
        ),
        (["--hours", "1", "--months", "0"], "range"),
        (["--hours", "1", "--tier", "3"], "--tier"),
        (["--hours", "1", "--prices", "nowhere.json"], "nowhere.json"),
    ],
)
def test_wrong_usage_names_the_fix(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(group, ["cost", *arguments])

    assert result.exit_code == 2
    assert message in result.output.replace("\n", " ")


def test_a_wrong_price_file_is_refused_with_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text(price_text().replace('"pubsub"', '"gold"').replace('"vCPU-s"', '"h"', 1))

    result = CliRunner().invoke(group, ["cost", "--hours", "1", "--prices", str(file)])

    assert result.exit_code == 2
    assert "start from --print-prices" in result.output
    assert "the price pubsub is missing" in result.output
    assert "run_cpu: unit must be vCPU-s" in result.output


def test_a_binary_price_file_is_refused_in_words(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_bytes(b"\xff\xfe\x00")

    result = CliRunner().invoke(group, ["cost", "--hours", "1", "--prices", str(file)])

    assert result.exit_code == 2
    assert "not UTF-8 text" in result.output


def asked(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(group, ["cost", "--json", *arguments])
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_prices_of_a_file_are_used(tmp_path: Path) -> None:
    data = json.loads(price_text())
    data["prices"]["scheduler"] |= {"usd": {"1": 7, "2": 7}, "free": 2}
    file = tmp_path / "prices.json"
    file.write_text(json.dumps(data))

    dearer = asked("--hours", "10", "--prices", str(file))
    usual = asked("--hours", "10")

    for before, after in zip(usual["months"], dearer["months"], strict=True):
        assert after["total"] == pytest.approx(before["total"] + 7)


def test_printed_prices_are_a_file_that_it_takes(tmp_path: Path) -> None:
    printed = CliRunner().invoke(group, ["cost", "--print-prices"])
    file = tmp_path / "prices.json"
    file.write_text(printed.stdout)

    assert printed.exit_code == 0
    assert asked("--hours", "9", "--prices", str(file)) == asked("--hours", "9")


def test_json_contains_every_month() -> None:
    document = asked("--hours", "0.5", "--months", "3", "--tier", "2", "--no-free-tier")

    assert [month["month"] for month in document["months"]] == [1, 2, 3]
    assert (document["currency"], document["tier"], document["free_tier"]) == ("USD", "2", False)
    assert document["total"] == pytest.approx(sum(one["total"] for one in document["months"]))
    for month in document["months"]:
        assert month["total"] == pytest.approx(sum(one["usd"] for one in month["items"]))
        assert {one["from"] for one in month["announced"]} == {"2027-09-01"}


@pytest.mark.parametrize("hours", ["0", "0.001", "100", "1e9"])
@pytest.mark.parametrize("width", ["40", "80", "200"])
def test_no_number_is_cut_and_no_line_is_wider_than_the_terminal(hours: str, width: str) -> None:
    done = run("--hours", hours, "--sftp-hours", "7.5", COLUMNS=width, NO_COLOR="1")

    assert done.returncode == 0, done.stderr
    assert "…" not in done.stdout
    assert "\x1b" not in done.stdout
    table = done.stdout.split("\n\n")[1]
    assert max(map(len, lines(table))) <= int(width)


def test_it_prints_where_there_is_nothing_but_ascii() -> None:
    done = run("--hours", "1", PYTHONUTF8="0", PYTHONIOENCODING="ascii", LC_ALL="C")

    assert done.returncode == 0, done.stderr
    assert "Total" in done.stdout
    assert "\\u" not in done.stdout

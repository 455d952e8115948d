import json
from typing import Any

import pytest

from cli.cost.bill import built_in_prices, price_text, read_prices
from cli.cost.plan import Plan
from cli.cost.usage import uses
from shared.core.errors import ConfigurationError

EVERYTHING = Plan(hours=20, meeting_minutes=1200, sftp_hours=1, mirror=True, static_ip=True)


def edited(**changes: Any) -> str:
    """Return the built-in file with fields of one price changed; ``...`` removes one."""
    data = json.loads(price_text())
    entry = data["prices"]["pubsub"]
    for name, value in changes.items():
        if value is ...:
            del entry[name]
        else:
            entry[name] = value
    return json.dumps(data)


def problems(content: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read_prices(content)
    return list(caught.value.problems)


def test_every_price_is_for_something_and_everything_has_its_price() -> None:
    assert {use.price for use in uses(EVERYTHING, 12)} == set(built_in_prices())


def test_every_price_names_googles_page() -> None:
    for name, price in built_in_prices().items():
        assert price.page.startswith("https://cloud.google.com/"), name
        assert price.usd["1"] <= price.usd["2"], name


def test_the_built_in_file_can_be_given_back() -> None:
    assert read_prices(price_text()) == built_in_prices()


def test_a_corrected_price_is_taken() -> None:
    read = read_prices(edited(usd={"1": 1024, "2": 2048}, free=0))

    assert read["pubsub"].each("1") == 1
    assert read["pubsub"].each("2") == 2
    assert read["pubsub"].free_usd == 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"usd": {"1": -1, "2": 1}}, "pubsub: usd of tier 1 must be a number, at least 0"),
        ({"usd": {"1": 1}}, "pubsub: '2' is missing"),
        ({"per": 0}, "pubsub: per must be a number, more than 0"),
        ({"per": True}, "pubsub: per must be a number, more than 0"),
        ({"free": "10"}, "pubsub: free must be a number, at least 0"),
        ({"free": float("nan")}, "pubsub: free must be a number, at least 0"),
        ({"page": ""}, "pubsub: page must be text"),
        ({"read": "yesterday"}, "pubsub: Invalid isoformat string: 'yesterday'"),
        ({"unit": "TiB"}, "pubsub: unit must be GiB"),
        ({"unit": ...}, "pubsub: 'unit' is missing"),
    ],
)
def test_a_wrong_price_is_named(changes: dict[str, Any], problem: str) -> None:
    assert problems(edited(**changes)) == [problem]


def test_every_problem_is_reported_at_once() -> None:
    data = json.loads(price_text())
    data["prices"]["gold"] = data["prices"].pop("pubsub")
    data["prices"]["logging"]["unit"] = "kB"

    assert problems(json.dumps(data)) == [
        "the price pubsub is missing",
        "there is no price gold",
        "logging: unit must be GiB",
    ]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", "{}", '{"prices": []}', '{"prices": {"pubsub": 3}, "currency": "USD"}',
     '{"prices": {}, "currency": "EUR"}'],
)  # fmt: skip
def test_another_shape_is_refused_in_words(content: str) -> None:
    for problem in problems(content):
        assert problem
        assert "Traceback" not in problem

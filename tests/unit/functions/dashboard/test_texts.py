import json

import pytest

from functions.dashboard.texts import SOURCE, clock, duration
from shared.core.message import Source
from tests.paths import ROOT


@pytest.mark.parametrize(
    ("seconds", "shown", "said"),
    [
        (0.4, "0:00", "0.4 s"),
        (119.97, "2:00", "2 min 00 s"),
        (185, "3:05", "3 min 05 s"),
        (3723, "1:02:03", "1 h 02 min"),
    ],
)
def test_a_length_is_the_same_in_both_forms(seconds: float, shown: str, said: str) -> None:
    assert (clock(seconds), duration(seconds)) == (shown, said)


def test_every_source_has_a_name_and_is_in_the_description() -> None:
    description = json.loads((ROOT / "functions/dashboard/openapi.json").read_text())

    assert SOURCE.keys() == set(Source)
    assert set(description["components"]["schemas"]["Source"]["enum"]) == set(Source)

from __future__ import annotations

import base64

import pytest

from functions.dashboard.listing import decode_cursor
from functions.dashboard.problems import ProblemError
from functions.drive_watch.main import _wanted
from shared.config.parsers import SftpCredentials
from shared.core.errors import MessageError
from shared.core.message import SourceFile
from shared.core.untrusted_json import MAX_DEPTH, parse
from shared.service import push

NESTS = [b"[" * depth + b"]" * depth for depth in (MAX_DEPTH + 1, 500, 990, 5000, 100_000)]
NESTS += [b'{"a":' * depth + b"1" + b"}" * depth for depth in (MAX_DEPTH + 1, 500, 990, 5000)]


@pytest.mark.parametrize("text", NESTS, ids=len)
def test_deep_nesting_is_refused_everywhere(text: bytes) -> None:
    for parser in (parse, _wanted, lambda data: SftpCredentials.parse(data.decode())):
        with pytest.raises(ValueError):
            parser(text)
    for decode in (SourceFile.decode, push.decode):
        with pytest.raises(MessageError):
            decode(text)
    with pytest.raises(ProblemError):
        decode_cursor(base64.urlsafe_b64encode(text).decode())


@pytest.mark.parametrize("text", ["", "{", "nul", '"\ud800', b"\xff", "9" * 5000])
def test_other_text_than_json_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_a_nest_within_the_limit_is_returned() -> None:
    text = "[" * (MAX_DEPTH - 1) + "1" + "]" * (MAX_DEPTH - 1)

    assert parse(text)
    assert parse('{"a": [1, {"b": null}]}') == {"a": [1, {"b": None}]}

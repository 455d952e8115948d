"""Names that stay inside, checksums as Cloud Storage writes them, lives of signatures."""

from __future__ import annotations

import posixpath
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.objects import check_lifetime, check_name, crc32c_of, encode_crc32c

PARTS = st.one_of(st.text(max_size=20), st.sampled_from(["..", ".", "", "~", "\0", "a"]))


@given(st.lists(PARTS, max_size=6).map("/".join))
def test_a_name_that_passes_stays_below_any_directory(name: str) -> None:
    try:
        passed = check_name(name)
    except ValueError:
        return
    assert passed == name
    assert posixpath.normpath(f"/bucket/{name}") == f"/bucket/{name}"
    assert 0 < len(name.encode()) <= 1024


@pytest.mark.parametrize("name", ["a", "dev/2025/04/会議.mp3", "...", ".hidden", "x" * 1024])
def test_names_that_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["é" * 513, "a/\ud800", "a\rb"])
def test_names_that_no_bucket_takes(name: str) -> None:
    with pytest.raises(ValueError):
        check_name(name)


def test_checksums_are_those_of_the_specification() -> None:
    # RFC 3720, section B.4: the CRC32C of 32 bytes of zeros is aa 36 91 8a on the wire,
    # least significant byte first.
    assert crc32c_of(bytes(32)) == "ipE2qg=="
    assert encode_crc32c(0x8A9136AA) == "ipE2qg=="
    assert crc32c_of(b"") == "AAAAAA=="


def test_a_signature_lives_for_at_most_7_days() -> None:
    assert check_lifetime(timedelta(days=7)) == timedelta(days=7)
    for lifetime in (timedelta(days=7, microseconds=1), timedelta(0), timedelta(seconds=-1)):
        with pytest.raises(ValueError, match="7 days"):
            check_lifetime(lifetime)

"""Names of objects: a table of realistic titles, and properties of any name at all."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.core import naming
from tests.paths import FIXTURES

TITLES = json.loads((FIXTURES / "titles.json").read_text(encoding="utf-8"))
CREATED = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)

# Every character there is, and often the ones that names are made dangerous with.
any_text = st.text(max_size=400) | st.text(
    alphabet="aZé/.\\\x00\n\u0301\u200d-_%🎉会0:", max_size=400
)
times = st.datetimes(timezones=st.just(UTC))


def is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


@pytest.mark.parametrize("row", TITLES, ids=lambda row: row["name"][:60] or "empty")
def test_a_title_gives_the_name_that_people_expect(row: dict[str, Any]) -> None:
    assert naming.audio_object("dev", row["name"], CREATED, "mp3") == row["object"]


def test_the_table_of_titles_is_large_enough_to_mean_something() -> None:
    assert len(TITLES) >= 60
    assert len({row["name"] for row in TITLES}) == len(TITLES)


@given(any_text)
@example("İSTANBUL")  # its lower case is an i and a combining dot
@example("1\ufe0f\u20e3")
@example("☕\ufe0f")
@example("a" + "\u0301" * 300)
def test_a_slug_is_short_and_of_letters_digits_marks_and_dashes(text: str) -> None:
    slug = naming.slug(text)

    assert 1 <= len(slug) <= 80
    assert len(slug.encode()) <= 180
    assert slug == unicodedata.normalize("NFC", slug.lower())
    assert not is_mark(slug[0])
    assert "--" not in slug
    assert slug == slug.strip("-")
    for char in slug.replace("-", ""):
        assert unicodedata.category(char)[0] in "LM" or unicodedata.category(char) == "Nd"
    assert naming.slug(slug) == slug


@given(st.text(alphabet=st.characters(categories=["L", "Nd"]), min_size=1, max_size=20))
def test_a_slug_keeps_every_letter_and_digit_of_any_script(text: str) -> None:
    expected = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())

    assert naming.slug(text) == naming._cut(expected, 180, 80)


clusters = st.text(alphabet="\u093f\u0301\u0323", max_size=3).flatmap(
    lambda marks: st.sampled_from([letter + marks for letter in "aक会"])
)


@given(st.lists(clusters, min_size=60, max_size=100).map("".join))
def test_a_cut_never_parts_a_mark_from_its_letter(text: str) -> None:
    text = unicodedata.normalize("NFC", text)
    slug = naming.slug(text)

    assert text.startswith(slug)
    assert not is_mark(text[len(slug) :][:1] or "a")


@given(any_text, times, st.sampled_from(["mp3", "opus", "flac", "m4a"]), st.none() | st.text("ab1"))
def test_no_name_leaves_its_prefix_or_exceeds_a_limit(
    name: str, created: datetime, extension: str, key: str | None
) -> None:
    audio = naming.audio_object("dev", name, created, extension, key)

    assert re.fullmatch(
        r"dev/\d{4}/\d\d/[^/]+_\d{4}-\d\d-\d\d_\d\d-\d\d(_[0-9a-f]{8})?_audio\.\w+", audio
    )
    for made in (
        audio,
        naming.chunk_object(audio, 1234, extension),
        naming.chunks_index_object(audio),
        naming.waveform_object(audio),
    ):
        check_name(made)


def check_name(name: str) -> None:
    assert len(name.encode()) < 1024
    assert name == unicodedata.normalize("NFC", name)
    assert not re.search("[\x00-\x1f\x7f-\x9f\\\\]", name)
    for part in name.split("/"):
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= 255 - 20  # the prefix of a hidden file beside it


@pytest.mark.timeout(10)
@pytest.mark.parametrize("piece", ["2025-01-01 ", "2025-01-01", " ", "_", "- ", "a ", "2025_"])
def test_a_long_name_takes_no_long_time(piece: str) -> None:
    naming.audio_object("dev", piece * 20_000, CREATED, "mp3")


def test_created_at_counts_in_utc() -> None:
    late = datetime(2025, 12, 31, 23, 30, tzinfo=timezone(timedelta(hours=-5)))

    assert naming.audio_object("prod", "Sync", late, "mp3") == (
        "prod/2026/01/sync_2026-01-01_04-30_audio.mp3"
    )


def test_a_key_distinguishes_two_recordings_of_one_name() -> None:
    name = "Sync (2025-01-29 at 10:00 GMT-5)"

    first = naming.audio_object("dev", name, CREATED, "mp3", "drive-a-1")
    second = naming.audio_object("dev", name, CREATED, "mp3", "drive-a-2")

    assert re.fullmatch(r"dev/2025/01/sync_2025-01-29_10-00_[0-9a-f]{8}_audio\.mp3", first)
    assert first != second
    assert first == naming.audio_object("dev", name, CREATED, "mp3", "drive-a-1")


def test_other_objects_are_beside_the_audio() -> None:
    audio = "dev/2025/01/weekly-sync_2025-01-29_10-00_audio.mp3"
    stem = "dev/2025/01/weekly-sync_2025-01-29_10-00_audio"

    assert naming.chunk_object(audio, 0, "mp3") == f"{stem}.chunks/000.mp3"
    assert naming.chunk_object(audio, 41, "opus") == f"{stem}.chunks/041.opus"
    assert naming.chunks_index_object(audio) == f"{stem}.chunks/chunks.json"
    assert naming.waveform_object(audio) == (
        "dev/metadata/waveforms/2025/01/weekly-sync_2025-01-29_10-00_audio.png"
    )


def test_a_log_is_filed_under_its_utc_day() -> None:
    when = datetime(2025, 1, 29, 23, 30, tzinfo=timezone(timedelta(hours=-5)))

    assert naming.log_object("dev", "drive-a-1", when) == (
        "dev/metadata/processing-logs/2025/01/30/drive-a-1.json"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("10-17-25.wav", "dev/compressed/10-17-25_compressed.wav"),
        ("2025/oct/10-17-25.wav", "dev/compressed/2025/oct/10-17-25_compressed.wav"),
        ("My Calls/A & B.MP3", "dev/compressed/My Calls/A & B_compressed.wav"),
        ("../../etc/passwd.wav", "dev/compressed/etc/passwd_compressed.wav"),
        ("/abs/olute.wav", "dev/compressed/abs/olute_compressed.wav"),
        ("a/./b//c.wav", "dev/compressed/a/b/c_compressed.wav"),
        ("a\nb\x00\x85/c\x7f.wav", "dev/compressed/a_b__/c__compressed.wav"),
        ("..\\..\\a.wav", "dev/compressed/.._.._a_compressed.wav"),
        ("caf%E9.wav", "dev/compressed/caf%E9_compressed.wav"),
        ("cafe\u0301.wav", "dev/compressed/café_compressed.wav"),
        (".wav", "dev/compressed/recording_compressed.wav"),
        ("..", "dev/compressed/recording_compressed.wav"),
        ("", "dev/compressed/recording_compressed.wav"),
        ("no ending", "dev/compressed/no ending_compressed.wav"),
        ("call.2025", "dev/compressed/call.2025_compressed.wav"),
    ],
)
def test_a_compressed_file_keeps_its_directories_and_no_way_out(path: str, expected: str) -> None:
    assert naming.compressed_object("dev", "compressed", path, "wav") == expected


@given(any_text, st.none() | any_text.filter(lambda t: t.isascii()))
@example("a/" * 2000 + "b.wav", None)
@example("é" * 255 + "/" + "会" * 300 + ".wav", "x")
def test_no_compressed_name_leaves_its_prefix_or_exceeds_a_limit(
    path: str, source_id: str | None
) -> None:
    name = naming.compressed_object("staging", "out/put", path, "flac", source_id)

    assert name.startswith("staging/out/put/")
    assert name.endswith("_compressed.flac")
    check_name(name)


def test_two_sources_of_one_name_are_distinguished() -> None:
    names = [
        naming.compressed_object("dev", "compressed", path, "wav", path)
        for path in ("a.wav", "a.mp3")
    ]

    assert len(set(names)) == 2
    assert all(re.fullmatch(r"dev/compressed/a_[0-9a-f]{8}_compressed\.wav", n) for n in names)


def test_long_directories_that_begin_alike_stay_apart() -> None:
    first, second = (
        naming.compressed_object("dev", "c", f"{'x' * 400}{end}/a.wav", "wav") for end in "12"
    )

    assert first != second


def test_directories_too_deep_for_a_name_become_one() -> None:
    first, second = (
        naming.compressed_object("dev", "c", f"{'dir/' * 400}{end}/a.wav", "wav") for end in "12"
    )

    assert re.fullmatch(r"dev/c/[0-9a-f]{8}/a_compressed\.wav", first)
    assert first != second


def test_the_manifest_is_in_the_output_directory() -> None:
    assert naming.manifest_object("dev", "compressed") == "dev/compressed/manifest.json"
    assert naming.manifest_object("dev", "/../a//b/") == "dev/a/b/manifest.json"


@given(st.binary(max_size=200))
@example(b"100%.wav")
@example(b"caf\xe9%E9.wav")
@example("é会🎉".encode())
def test_every_path_of_bytes_is_text_and_comes_back(raw: bytes) -> None:
    text = naming.encode_path(raw)

    text.encode()  # no lone surrogates
    assert naming.decode_path(text) == raw


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_two_paths_are_never_one_text(first: bytes, second: bytes) -> None:
    assert (naming.encode_path(first) == naming.encode_path(second)) == (first == second)


def test_a_path_of_plain_text_stays_as_it_is() -> None:
    assert naming.encode_path("Été/é.wav".encode()) == "Été/é.wav"
    assert naming.encode_path(b"caf\xe9 100%.wav") == "caf%E9 100%25.wav"


def test_a_path_as_the_system_gives_it_can_be_encoded(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    Path(os.fsdecode(raw)).write_bytes(b"")

    (found,) = tmp_path.iterdir()

    assert naming.encode_path(os.fsencode(found.name)) == "caf%E9.wav"


@pytest.mark.parametrize("character", "*?[]#\u2028\u2029\ufeff\u202e\u2066\u200f\u061c\x85\\")
def test_no_compressed_name_has_characters_that_mislead(character: str) -> None:
    name = naming.compressed_object("dev", "out", f"a{character}b/c{character}d.wav", "mp3")
    assert name == "dev/out/a_b/c_d_compressed.mp3"

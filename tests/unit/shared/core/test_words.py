"""Search words: names and queries are cut alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.words import MAX_WORD, MAX_WORDS, index_words, prefixes, split_words

names = st.text(max_size=300)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Weekly sync", ["weekly", "sync"]),
        ("Réunion d'équipe", ["reunion", "d", "equipe"]),
        ("STRASSE Straße", ["strasse"]),
        ("ann.lee@example.com", ["ann", "lee", "example", "com"]),
        ("sync_notes", ["sync", "notes"]),
        ("Sync - 2025/04/07 16:52 CST", ["sync", "2025-04-07", "16", "52", "cst"]),
        ("2025_4_7", ["2025-04-07"]),
        ("2025-04", ["2025-04"]),
        ("ｆｕｌｌ", ["full"]),
        ("회의 기록", ["회의", "기록"]),
        ("<script>alert(1)</script>", ["script", "alert", "1"]),
        ("🎧 \u202e", []),
        ("", []),
    ],
)
def test_words_of_a_text(text: str, words: list[str]) -> None:
    assert list(split_words(text)) == words


def test_a_run_without_spaces_is_found_by_its_inner_characters() -> None:
    assert "会議" in index_words("週次会議")
    assert "会議" in index_words("2025/04/07 に開始した会議")


def test_words_are_bounded() -> None:
    assert len(index_words(" ".join(f"w{n}" for n in range(300)))) == MAX_WORDS
    assert split_words("x" * 300) == ("x" * MAX_WORD,)


def test_prefixes_are_all_starts() -> None:
    assert prefixes(["sync", "sy"]) == ["s", "sy", "syn", "sync"]


@given(names)
def test_a_name_is_found_by_each_of_its_words(name: str) -> None:
    starts = set(prefixes(index_words(name)))
    assert set(split_words(name)[:20]) <= starts or len(index_words(name)) == MAX_WORDS


@given(names)
def test_cutting_words_again_changes_nothing(name: str) -> None:
    for word in split_words(name):
        assert len(word) <= MAX_WORD
        assert all(part in word for part in split_words(word))

"""The API: lists, search, events, links, retries, and who may ask."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

from functions.dashboard.export import safe
from shared.core.records import Status
from tests.unit.functions.dashboard.conftest import Bench, make_bench


def keys(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["key"] for one in answer.json["recordings"]]


def body(answer: Any) -> Any:
    return answer.json


# ── lists ──


def test_pages_reach_every_recording_once(bench: Bench) -> None:
    added = [bench.add(f"Meeting {number}") for number in range(7)]
    seen: list[str] = []
    cursor = ""
    while True:
        answer = bench.client.get(f"/api/recent?limit=3&cursor={cursor}")
        seen += keys(answer)
        cursor = body(answer)["cursor"]
        if cursor is None:
            break
    assert seen == added  # the last changed first


def test_filters(bench: Bench) -> None:
    done = bench.add("Sync")
    failed = bench.add("Review", Status.FAILED, code="too_long")
    other = bench.add("Night", Status.FAILED, code="corrupt", source="sftp")
    get = bench.client.get
    assert keys(get("/api/recent")) == [done, failed, other]
    assert keys(get("/api/recent?status=DONE")) == [done]
    assert keys(get("/api/recent?source=sftp")) == [other]
    assert keys(get("/api/failed")) == [failed, other]
    assert keys(get("/api/failed?code=too_long")) == [failed]
    assert keys(get("/api/failed?code=too_long&source=sftp")) == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("weekly", True),
        ("WEEK", True),
        ("sync weekly", True),
        ("reunion", False),
        ("2025-04-07", True),
        ("2025/4/7", True),
        ("2025-04", True),
        ("2025-05", False),
        ("anna", True),
        ("anna@example.com", True),
        ("weekly 2025-04-07 anna", True),
        ("weekly 2025-04-08", False),
        ("eekly", False),
        ("%", False),
        ("' OR 1=1", False),
    ],
)
def test_search(bench: Bench, query: str, found: bool) -> None:
    key = bench.add("Weekly sync - 2025/04/07 16:52 CST - Recording")
    bench.add("Réunion")
    answer = bench.client.get("/api/search", query_string={"q": query})
    assert (key in keys(answer)) is found


def test_a_search_with_rare_matches_goes_on_by_its_cursor(bench: Bench) -> None:
    for _ in range(3):
        bench.add("Weekly sync")
    wanted = bench.add("Weekly budget")
    cursor, seen = "", []
    for _ in range(10):
        answer = bench.client.get(f"/api/search?q=weekly+budget&limit=1&cursor={cursor}")
        seen += keys(answer)
        cursor = body(answer)["cursor"]
        if cursor is None:
            break
    assert seen == [wanted]


@pytest.mark.parametrize(
    "path",
    [
        "/api/recent?limit=0",
        "/api/recent?limit=201",
        "/api/recent?limit=x",
        "/api/recent?status=NEVER",
        "/api/recent?source=tape",
        "/api/recent?cursor=abc",
        "/api/recent?cursor=WyJ4IiwgInkiXQ",
        "/api/failed?code=No",
        "/api/search",
        "/api/search?q=+",
        "/api/search?q=a%00b",
        "/api/search?q=" + "x" * 201,
        "/api/search?day=7.4.2025",
        "/api/events?since=yesterday",
    ],
)
def test_bad_parameters_are_problems(bench: Bench, path: str) -> None:
    answer = bench.client.get(path)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert answer.json["status"] == 400
    assert answer.json["detail"]


def test_unknown_keys_paths_and_methods_are_problems(bench: Bench) -> None:
    for path, status in {
        "/api/recordings/none": 404,
        "/api/recordings/..%2f..%2fetc": 404,
        "/api/recordings/__x__": 404,
        "/api/nothing": 404,
        "/audio/none": 404,
    }.items():
        answer = bench.client.get(path)
        assert (path, answer.status_code) == (path, status)
        assert answer.content_type == "application/problem+json"
    answer = bench.client.get("/api/retry")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


def test_a_recording_is_its_document(bench: Bench) -> None:
    key = bench.add()
    one = bench.client.get(f"/api/recordings/{key}").json
    assert one is not None
    assert one["status"] == "DONE"
    assert one["created_at"] == "2026-11-24T12:00:00Z"
    assert "weekly" in one["words"]


def test_stats(bench: Bench) -> None:
    bench.add()
    bench.add("b", Status.FAILED)
    bench.add("c", Status.QUEUED)
    stats = bench.client.get("/api/stats").json
    assert stats is not None
    assert stats["counts"] == {"QUEUED": 1, "PROCESSING": 0, "DONE": 1, "FAILED": 1, "SKIPPED": 0}
    assert stats["failures"] == {"corrupt": 1}
    assert stats["queue"]["depth"] == 1
    assert len(stats["days"]) == 14
    assert stats["days"][-1]["done"] == 1
    assert stats["days"][-1]["mean_processing_s"] == 10.0


def test_metrics(bench: Bench) -> None:
    bench.add("b", Status.FAILED)
    text = bench.client.get("/metrics").text
    assert 'audio_dashboard_recordings{status="FAILED"} 1.0' in text
    assert 'audio_dashboard_component_up{component="storage"} 1.0' in text


# ── events ──


def test_events_answer_304_until_something_changes(bench: Bench) -> None:
    first = bench.client.get("/api/events")
    assert first.json is not None
    path = "/api/events?since=" + first.json["since"]
    tag = bench.client.get(path).headers["ETag"]
    assert bench.client.get(path, headers={"If-None-Match": tag}).status_code == 304
    key = bench.add("New", Status.PROCESSING, updated_at=bench.now + timedelta(seconds=1))
    second = bench.client.get(path, headers={"If-None-Match": tag})
    assert second.status_code == 200
    assert second.json is not None
    assert [one["key"] for one in second.json["changed"]] == [key]
    assert second.json["counts"]["PROCESSING"] == 1


# ── links ──


def test_a_link_works_for_a_day_and_no_longer(bench: Bench) -> None:
    key = bench.add()
    link = bench.post("/api/refresh-url", {"key": key}).json
    assert link is not None
    address = urlsplit(link["url"])
    path = f"{address.path}?{address.query}"
    assert bench.get(path).status_code == 200
    bench.now += timedelta(hours=23)
    assert bench.get(path).status_code == 200
    bench.now += timedelta(hours=2)
    assert bench.get(path).status_code == 403
    week = bench.post("/api/refresh-url", {"key": key, "lifetime": "week"}).json
    assert week is not None
    assert week["expires_at"] == "2026-12-03T13:00:00Z"


def test_a_link_cannot_be_changed(bench: Bench) -> None:
    key, other = bench.add("a"), bench.add("b")
    link = bench.post("/api/refresh-url", {"key": key}).json
    assert link is not None
    query = urlsplit(link["url"]).query
    assert bench.get(f"/audio/{other}?{query}").status_code == 403
    later = re.sub(r"expires=\d+", "expires=99999999999", query)
    assert bench.get(f"/audio/{key}?{later}").status_code == 403
    assert bench.get(f"/audio/{key}?signature=%ff&expires=1").status_code == 403


def test_a_link_to_a_recording_without_audio(bench: Bench) -> None:
    key = bench.add("a", Status.QUEUED)
    assert bench.post("/api/refresh-url", {"key": key}).status_code == 404
    assert bench.post("/api/refresh-url", {"key": "none"}).status_code == 404
    assert bench.post("/api/refresh-url", {"key": key, "lifetime": "year"}).status_code == 400
    assert bench.post("/api/refresh-url", {"key": ["x"]}).status_code == 400
    assert bench.post("/api/refresh-url", {}).status_code == 400


# ── retries ──


def test_retry_queues_and_publishes(bench: Bench) -> None:
    key = bench.add("a", Status.FAILED)
    answer = bench.post("/api/retry", {"keys": [key]})
    assert answer.json == {"queued": [key], "refused": [], "more": False}
    assert bench.status(key) == "QUEUED"
    assert [item.key for item in bench.queue.items] == [key]


def test_retry_by_code_leaves_other_codes(bench: Bench) -> None:
    corrupt = [bench.add("a", Status.FAILED) for _ in range(3)]
    other = bench.add("b", Status.FAILED, code="forbidden")
    answer = bench.post("/api/retry", {"code": "corrupt"})
    assert answer.json is not None
    assert sorted(answer.json["queued"]) == sorted(corrupt)
    assert bench.status(other) == "FAILED"


def test_retry_refuses_a_recording_in_progress(bench: Bench) -> None:
    busy = bench.add("a", Status.PROCESSING, lease_expires_at=bench.now + timedelta(hours=1))
    failed = bench.add("b", Status.FAILED)
    assert bench.post("/api/retry", {"keys": [busy]}).status_code == 409
    assert bench.post("/api/retry", {"keys": ["none"]}).status_code == 404
    answer = bench.post("/api/retry", {"keys": [busy, failed, "none"]})
    assert answer.json is not None
    assert answer.json["queued"] == [failed]
    assert [one["reason"] for one in answer.json["refused"]] == ["in progress", "unknown"]


@pytest.mark.parametrize(
    "body",
    [
        *({}, {"keys": []}, {"keys": [1]}, {"keys": ["a/b"]}, {"keys": ["x"] * 201}, [], "x"),
        # openapi.json allows no other properties, and no key in place of a list.
        *({"keys": "x"}, {"keys": ["x"], "code": "corrupt"}, {"code": "corrupt", "limit": 1}),
    ],
)
def test_bad_retries_are_problems(bench: Bench, body: Any) -> None:
    assert bench.post("/api/retry", body).status_code == 400


def test_a_form_goes_back_to_its_page(bench: Bench) -> None:
    key = bench.add("a", Status.FAILED)
    form = {"csrf_token": bench.token, "keys": key}
    answer = bench.client.post(
        "/api/retry",
        data=form,
        headers={
            "Origin": "http://localhost",
            "Referer": "http://localhost/recordings?status=FAILED",
        },
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/recordings?status=FAILED&retried=1"
    assert "1 recording queued again." in bench.get(answer.headers["Location"]).text


@pytest.mark.parametrize("referer", ["http://evil.example/x", "http://localhost//evil.example", ""])
def test_a_form_never_leads_elsewhere(bench: Bench, referer: str) -> None:
    key = bench.add("a", Status.FAILED)
    answer = bench.client.post(
        "/api/retry",
        data={"csrf_token": bench.token, "keys": key},
        headers={"Origin": "http://localhost", "Referer": referer},
    )
    assert answer.headers["Location"].startswith("/?")


# ── who may ask ──


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
        {"Origin": "http://localhost", "X-CSRF-Token": "wrong"},
        {"Origin": "http://localhost", "X-CSRF-Token": ""},
    ],
)
def test_posts_of_other_sites_are_refused(bench: Bench, headers: dict[str, str]) -> None:
    key = bench.add("a", Status.FAILED)
    sent = {"X-CSRF-Token": bench.token, **headers}
    answer = bench.client.post("/api/retry", json={"keys": [key]}, headers=sent)
    assert answer.status_code == 403
    assert bench.status(key) == "FAILED"


def test_a_token_without_its_cookie_is_refused(bench: Bench) -> None:
    token = bench.token
    bench.client.delete_cookie("csrf_token")
    headers = {"Origin": "http://localhost", "X-CSRF-Token": token}
    assert bench.client.post("/api/retry", json={"code": "x"}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("audio.example.com", 421),
        ("10.0.0.1", 421),
        ("[::1", 421),
    ],
)
def test_other_hosts_are_refused(bench: Bench, host: str, status: int) -> None:
    for path in ("/api/stats", "/assets/app.css", "/"):
        assert bench.get(path, Host=host).status_code == status


def test_hosts_that_are_set_are_answered() -> None:
    bench = make_bench(hosts=frozenset({"audio.example.com"}))
    assert bench.get("/", Host="audio.example.com").status_code == 200
    assert bench.get("/", Host="example.com").status_code == 421
    assert make_bench(hosts=None).get("/", Host="x.run.app").status_code == 200


def test_every_answer_is_hardened(bench: Bench) -> None:
    for path in ("/", "/recordings", "/nope", "/api/stats", "/assets/app.js"):
        headers = bench.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert bench.get("/").headers["Cache-Control"] == "no-store"


# ── hostile names ──

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE documents; --",
    "{{ 7 * 7 }}",
    "\u202egpj.exe",
    "=1+1",
    "long " * 60,
    "🎧👩‍👩‍👧",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_everywhere(bench: Bench, name: str) -> None:
    key = bench.add(name, account=name[:100])
    bench.add(name, Status.FAILED)
    for path in ("/", "/recordings", f"/recordings/{key}", "/recordings?status=FAILED"):
        page = bench.get(path)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "49" not in re.findall(r"<bdi>(.*?)</bdi>", page.text)
    found = bench.get("/recordings", Accept="text/html").text
    assert "<bdi>" in found
    search = bench.client.get("/recordings", query_string={"q": name[:200]})
    assert search.status_code == 200
    assert "<script>alert" not in search.text
    rows = list(csv.reader(io.StringIO(bench.get("/recordings.csv").text.lstrip("\ufeff"))))
    names = {row[1] for row in rows[1:]}
    assert names == {f"'{name}" if name[0] in "=+-@" else name}


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "＝1", "\u00a0=1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert safe(text).startswith("'")


def test_numbers_stay_numbers() -> None:
    assert safe(-1.5) == "-1.5"
    assert safe("plain - text") == "plain - text"


# ── the description ──


def test_the_description_names_every_path_of_the_api(bench: Bench) -> None:
    app: Flask = bench.client.application
    described = bench.client.get("/api/openapi.json").json
    assert described is not None
    routes = {
        re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.")
    }
    assert set(described["paths"]) == routes
    assert described["openapi"].startswith("3.1")
    json.dumps(described)

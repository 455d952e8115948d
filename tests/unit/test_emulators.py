"""A missing tool skips its tests with a reason; in CI it fails them."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from cli.demo import emulators
from tests.emulators import find_tool, free_port, or_missing, running

FINDS = [find_tool, lambda _name: or_missing(lambda: emulators.firestore_command(0))]


@pytest.fixture(autouse=True)
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("find", FINDS)
def test_a_missing_tool_skips_and_names_the_fix(
    find: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make test-tools"):
        find("no-such-tool")  # type: ignore[operator]


@pytest.mark.parametrize("find", FINDS)
def test_in_ci_a_missing_tool_fails(find: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="make test-tools"):
        find("no-such-tool")  # type: ignore[operator]


def test_a_server_that_ends_by_itself_fails_with_its_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no more ports')"]
    with (
        pytest.raises(pytest.fail.Exception, match="no more ports"),
        running(command, free_port(), tmp_path / "log"),
    ):
        pass


def test_a_server_is_ended_with_its_children(tmp_path: Path) -> None:
    port = free_port()
    code = f"""
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
http.server.HTTPServer(("127.0.0.1", {port}), http.server.BaseHTTPRequestHandler).serve_forever()
"""
    log = tmp_path / "log"
    with running([sys.executable, "-c", code], port, log):
        child = psutil.Process(int(log.read_text().split()[0]))
        assert child.is_running()
    gone, _ = psutil.wait_procs([child], timeout=10)
    assert gone or child.status() == psutil.STATUS_ZOMBIE

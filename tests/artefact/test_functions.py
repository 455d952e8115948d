"""Each function's archive, unpacked in an empty folder, installed, started and called."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.core.message import SourceFile
from tests.artefact import archives, deployed
from tests.artefact.deployed import MAINTAIN, NOTIFY, SFTP, Deployed
from tests.paths import ROOT
from tests.services import envelope

# The first test of each waits for pip.
pytestmark = pytest.mark.slow(40)

FORGED = {
    "X-Goog-Channel-ID": "0" * 32,
    "X-Goog-Channel-Token": "x" * 43,
    "X-Goog-Resource-ID": "resource",
    "X-Goog-Resource-State": "change",
}
FILE = SourceFile(
    source="sftp",
    source_id="a.wav",
    revision="1-1700000000",
    name="a.wav",
    mime_type="audio/wav",
    size_bytes=1,
    created_at=datetime(2025, 1, 29, 10, tzinfo=UTC),
)


@dataclass(frozen=True)
class Built:
    """An unpacked archive, and the programs that its requirements have brought."""

    directory: Path
    programs: Path
    env: Mapping[str, str]

    def serve(self, target: str, env: Mapping[str, str]) -> AbstractContextManager[Deployed]:
        """Run an entry point as the builder does: in the archive's root, by variables."""
        variables = {
            **self.env,
            **deployed.FUNCTION,
            **env,
            "PATH": f"{self.programs}:{self.env['PATH']}",
            "FUNCTION_TARGET": target,
            "FUNCTION_SIGNATURE_TYPE": "http",
            "K_SERVICE": target,
        }
        log = self.directory.with_name(f"{target}.log")
        program = str(self.programs / "functions-framework")
        return deployed.serving([program], self.directory, variables, log)


def build(name: str, base: Path, env: Mapping[str, str]) -> Built:
    directory = base / "workspace"
    with zipfile.ZipFile(archives.made_here(base)[name]) as archive:
        archive.extractall(directory)
    programs = archives.virtual_environment(
        base / "venv",
        *("--requirement", "requirements.txt"),
        cwd=directory,
        env=archives.from_wheels(),
    )
    return Built(directory, programs, env)


@pytest.fixture(scope="session")
def drive_watch(tmp_path_factory: pytest.TempPathFactory, on_emulators: dict[str, str]) -> Built:
    return build("drive_watch", tmp_path_factory.mktemp("drive_watch"), on_emulators)


@pytest.fixture(scope="session")
def sftp_compress(tmp_path_factory: pytest.TempPathFactory, on_emulators: dict[str, str]) -> Built:
    return build("sftp_compress", tmp_path_factory.mktemp("sftp_compress"), on_emulators)


@pytest.fixture(params=["drive_watch", "sftp_compress"])
def built(request: pytest.FixtureRequest) -> Built:
    made: Built = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def compress(sftp_compress: Built) -> Iterator[Deployed]:
    with sftp_compress.serve("compress", SFTP) as running:
        yield running


def test_every_version_is_the_one_that_is_pinned(built: Built) -> None:
    frozen = archives.pip(built.programs.parent, "freeze", cwd=built.directory).split()

    assert set(frozen) <= set((ROOT / "constraints.txt").read_text().split())
    archives.pip(built.programs.parent, "check", cwd=built.directory)


def test_it_compiles_as_the_builder_has_it(built: Built) -> None:
    command = [str(built.programs / "python"), "-m", "compileall", "-f", "-q", "."]
    done = archives.run(command, built.directory, built.env)

    assert (done.returncode, done.stdout) == (0, "")


def test_its_code_is_its_own(built: Built) -> None:
    script = (
        "import sys; sys.path.insert(0, '.'); import main, shared.bootstrap\n"
        "print(*{m.__file__ for n, m in list(sys.modules.items())"
        " if n.split('.')[0] in ('main', 'shared', 'functions') and m.__file__}, sep='\\n')"
    )
    command = [str(built.programs / "python"), "-P", "-W", "error", "-c", script]
    done = archives.run(command, built.directory, {**built.env, "K_SERVICE": "x", **SFTP})

    assert done.returncode == 0, done.stderr
    found = [Path(built.directory, line) for line in done.stdout.split()]
    assert len(found) > 5
    assert all(file.resolve().is_relative_to(built.directory.resolve()) for file in found)
    assert str(ROOT) not in done.stdout


def test_notify_refuses_forgeries(drive_watch: Built) -> None:
    with drive_watch.serve("notify", NOTIFY) as notify:
        assert notify.get().status == 405
        assert notify.post().status == 403
        assert notify.post(headers=FORGED).status == 403


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_every_line_is_logged_once_and_without_secrets(sftp_compress: Built, enabled: str) -> None:
    """Cloud Functions sets LOG_EXECUTION_ID to true; then functions-framework logs too."""
    credentials = {"username": "nightly", "password": "a-secret-word", "known_hosts": "host key"}
    wrong = {
        "LOG_EXECUTION_ID": enabled,
        "SFTP_CREDENTIALS": json.dumps(credentials),
        "SFTP_HOST": "a-secret-word.invalid",  # so that the error would show it
    }
    with sftp_compress.serve("compress", SFTP | wrong) as compress:
        assert compress.post(envelope(FILE.encode())).status == 503
        lines = compress.log.splitlines()

    ours = [json.loads(line) for line in lines if FILE.key in line]
    messages = [line["message"] for line in ours]
    assert "recording retry" in messages
    assert len(set(messages)) == len(messages)
    assert all("severity" in line for line in ours)
    assert any("***.invalid" in line.get("error", "") for line in ours)
    assert "a-secret-word" not in compress.log


def test_maintain_returns_its_summary_without_an_account(drive_watch: Built) -> None:
    with drive_watch.serve("maintain", MAINTAIN) as maintain:
        requeued = maintain.post(b'{"only": "requeue"}')
        assert (requeued.status, requeued.json["requeued"]) == (200, 0)
        failed = maintain.post(b"{}")
        assert failed.status == 500
        assert "no Google credentials" in failed.json["failures"]["default"]


def test_nightly_names_the_missing_variables(sftp_compress: Built) -> None:
    with sftp_compress.serve("nightly", SFTP) as nightly:
        answer = nightly.post(b"{}")

        assert (answer.status, answer.json["error"]["code"]) == (500, "configuration")
        assert "SFTP_HOST is not set" in answer.json["error"]["message"]
        assert "SFTP_CREDENTIALS is not set" in answer.json["error"]["message"]


def test_compress_drops_poison_and_keeps_the_rest(compress: Deployed) -> None:
    assert compress.post(b"{not an envelope").status == 204
    assert compress.post(envelope(b'{"schema": 99}')).status == 204
    assert compress.post(envelope(FILE.encode())).status == 503
    lines = [json.loads(line) for line in compress.log.splitlines() if line.startswith("{")]
    assert "SFTP_HOST is not set" in next(
        line["stack_trace"] for line in lines if line["message"] == "request failed"
    )


def test_a_wrong_value_ends_it_and_every_one_is_reported(sftp_compress: Built) -> None:
    wrong = SFTP | {"SFTP_PORT": "abc", "OUTPUT_FORMAT": "aiff"}
    with (
        pytest.raises(AssertionError, match=r"SFTP_PORT is not.*\n.*OUTPUT_FORMAT must be"),
        sftp_compress.serve("nightly", wrong),
    ):
        pass

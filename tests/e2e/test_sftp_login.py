"""Logging in to SFTP servers as ``ssh`` does, and as the cloud does with its one secret."""

from __future__ import annotations

import base64
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.adapters.sftp.login import reason
from shared.adapters.sftp.server import SftpServer
from shared.adapters.sftp.sources import SftpSources
from shared.config.parsers import SftpCredentials
from shared.config.secret import Secret
from shared.core.errors import PipelineError
from shared.core.sftp_errors import ServerCode, ServerError
from shared.core.sftp_login import PersonalLogin
from tests.media.clips import run, speech
from tests.sftp import program
from tests.sftp_quirks import PASSWORD, At, Logins, quirky

pytestmark = pytest.mark.timeout(120)

PROGRAM = Path(sys.executable).with_name("audio-pipeline")
CODES = (("Password: ", PASSWORD), ("Verification code: ", "123456"))


def log_in(at: At, login: PersonalLogin | SftpCredentials, times: int = 1) -> None:
    """Connect ``times`` times, as when the connection breaks."""
    server = SftpServer("127.0.0.1", at.port, login, retry_s=20)
    try:
        for _ in range(times):
            assert list(SftpSources(server, "/").list()) == []
            server.close()
    finally:
        server.close()


class Person:
    """Answers questions, and remembers them."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.questions: list[str] = []

    def __call__(self, question: str, secret: bool) -> str:
        assert secret
        self.questions.append(question)
        return next((a for word, a in self.answers.items() if word in question), "")


def personal(at: At, person: Person | None = None, *identities: Path) -> PersonalLogin:
    return PersonalLogin(
        username="ann",
        known_hosts=at.known_hosts,
        identities=identities,
        ask=person,
    )


def make_key(path: Path, passphrase: str = "") -> bytes:
    """Make a key pair; returns its public part."""
    options = ["-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run([program("ssh-keygen"), *options], check=True)
    return base64.b64decode(path.with_suffix(".pub").read_text().split()[1])


@pytest.fixture(autouse=True)
def no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def agent(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An ssh-agent of this test's own."""
    at = tmp_path_factory.mktemp("agent") / "socket"
    process = subprocess.Popen([program("ssh-agent"), "-D", "-a", at], stdout=subprocess.DEVNULL)
    while not at.exists():
        assert process.poll() is None
        time.sleep(0.01)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(at))
    yield at
    process.terminate()
    process.wait()


# A person.


def test_a_password_is_asked_for_once(tmp_path: Path) -> None:
    person = Person(Password=PASSWORD)
    with quirky(tmp_path) as at:
        log_in(at, personal(at, person), times=2)
    assert person.questions == [f"Password of ann@127.0.0.1:{at.port}"]


def test_a_wrong_password_is_asked_for_again_and_then_rejected(tmp_path: Path) -> None:
    person = Person(Password="wrong one")
    with quirky(tmp_path) as at, pytest.raises(ServerError, match="the password") as raised:
        log_in(at, personal(at, person))
    assert raised.value.code is ServerCode.AUTHENTICATION
    assert len(person.questions) == 3
    assert "wrong one" not in str(raised.value)


def test_several_questions_are_asked_and_answered(tmp_path: Path) -> None:
    person = Person(Password=PASSWORD, code="123456")
    logins = Logins(methods=("keyboard-interactive",), prompts=CODES)
    with quirky(tmp_path, logins=logins) as at:
        log_in(at, personal(at, person))
    assert [q.partition(" (")[0] for q in person.questions] == ["Password", "Verification code"]
    assert all("ann@127.0.0.1" in question for question in person.questions)


def test_a_key_and_then_a_password(tmp_path: Path) -> None:
    public = make_key(tmp_path / "key")
    (tmp_path / "empty").mkdir()
    logins = Logins(methods=("publickey", "password"), needs_all=True, keys=[public])
    person = Person(Password=PASSWORD)
    with quirky(tmp_path / "empty", logins=logins) as at:
        log_in(at, personal(at, person, tmp_path / "key"))
    assert len(person.questions) == 1


def test_a_locked_key_asks_for_its_passphrase_once(tmp_path: Path) -> None:
    public = make_key(tmp_path / "key", "sesame")
    (tmp_path / "empty").mkdir()
    logins = Logins(methods=("publickey",), keys=[public])
    person = Person(Passphrase="sesame")
    with quirky(tmp_path / "empty", logins=logins) as at:
        log_in(at, personal(at, person, tmp_path / "missing", tmp_path / "key"), times=2)
    (question,) = person.questions
    assert str(tmp_path / "key") in question
    assert "127.0.0.1" in question


def test_no_passphrase_is_asked_for_where_no_key_is_taken(tmp_path: Path) -> None:
    make_key(tmp_path / "key", "sesame")
    (tmp_path / "empty").mkdir()
    person = Person(Password=PASSWORD)
    with quirky(tmp_path / "empty") as at:
        log_in(at, personal(at, person, tmp_path / "key"))
    assert len(person.questions) == 1


def test_the_agents_key_comes_before_a_locked_file(tmp_path: Path, agent: Path) -> None:
    public = make_key(tmp_path / "open")
    subprocess.run([program("ssh-add"), "-q", tmp_path / "open"], check=True)
    options = ["-q", "-p", "-N", "sesame", "-f", str(tmp_path / "open")]
    subprocess.run([program("ssh-keygen"), *options], check=True)
    (tmp_path / "empty").mkdir()
    logins = Logins(methods=("publickey",), keys=[public])
    with quirky(tmp_path / "empty", logins=logins) as at:
        log_in(at, personal(at, Person(), tmp_path / "open"))


def test_nothing_is_asked_before_the_host_key_is_checked(tmp_path: Path) -> None:
    person = Person(Password=PASSWORD)
    with quirky(tmp_path) as at, pytest.raises(ServerError) as raised:
        log_in(at, replace(personal(at, person), known_hosts=""))
    assert raised.value.code is ServerCode.HOST_KEY
    assert person.questions == []


def test_a_new_host_key_is_accepted_on_request_and_a_changed_one_never(tmp_path: Path) -> None:
    added: list[str] = []
    with quirky(tmp_path) as at:
        login = replace(
            personal(at, Person(Password=PASSWORD)), known_hosts="", on_new_host_key=added.append
        )
        log_in(at, login)
        assert added == [at.known_hosts.strip()]
        with quirky(tmp_path) as other:
            key = other.known_hosts.partition(" ")[2]
            changed = f"{at.known_hosts.partition(' ')[0]} {key}"
            with pytest.raises(ServerError) as raised:
                log_in(at, replace(login, known_hosts=changed))
    assert raised.value.code is ServerCode.HOST_KEY
    assert len(added) == 1


# The cloud.


def test_a_password_answers_the_one_question_of_a_server(tmp_path: Path) -> None:
    logins = Logins(methods=("keyboard-interactive",), prompts=CODES[:1])
    with quirky(tmp_path, logins=logins) as at:
        log_in(at, at.credentials)


@pytest.mark.parametrize(
    ("logins", "words"),
    [
        (Logins(methods=("publickey",)), "it takes publickey|the server takes publickey"),
        (Logins(methods=("keyboard-interactive",), prompts=CODES), "asks 2 questions"),
        (Logins(methods=("hostbased",)), "the server takes hostbased"),
    ],
    ids=["keys only", "two questions", "an unknown method"],
)
def test_a_login_that_cannot_succeed_fails_at_once(
    tmp_path: Path, logins: Logins, words: str
) -> None:
    start = time.monotonic()
    with quirky(tmp_path, logins=logins) as at, pytest.raises(ServerError, match=words) as raised:
        log_in(at, at.credentials)
    assert raised.value.code is ServerCode.AUTHENTICATION
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "algorithms",
    [{"keys": ("ssh-rsa",)}, {"kex": ("diffie-hellman-group1-sha1",)}],
    ids=str,
)
def test_no_algorithm_in_common_is_reported_at_once(
    tmp_path: Path, algorithms: dict[str, tuple[str, ...]]
) -> None:
    start = time.monotonic()
    with (
        quirky(tmp_path, algorithms=algorithms) as at,
        pytest.raises(ServerError, match="no algorithm in common") as raised,
    ):
        log_in(at, at.credentials)
    assert raised.value.code is ServerCode.INCOMPATIBLE
    assert time.monotonic() - start < 10


def test_an_unknown_host_is_reported_at_once() -> None:
    start = time.monotonic()
    credentials = SftpCredentials(username="a", known_hosts="# none", password=Secret("x"))
    server = SftpServer("no-such-host.invalid", 22, credentials)
    with pytest.raises(PipelineError, match="no-such-host") as raised:
        list(SftpSources(server, "/").list())
    assert "Errno" not in str(raised.value)
    assert time.monotonic() - start < 60


def test_reasons_have_no_numbers() -> None:
    assert reason(ConnectionRefusedError(111, "Connection refused")) == "connection refused"
    assert "no answer" in reason(TimeoutError("timed out"))


# The command.


def audio(folder: Path) -> Path:
    folder.mkdir()
    run(*speech(1, 16000, 1), folder / "a.wav")
    os.utime(folder / "a.wav", (1_700_000_000, 1_700_000_000))
    return folder


def command(home: Path, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "compress", *arguments],
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def secret(at: At) -> str:
    return json.dumps({"username": "ann", "password": PASSWORD, "known_hosts": at.known_hosts})


def test_the_settings_name_the_login_and_the_server(tmp_path: Path) -> None:
    with quirky(audio(tmp_path / "served")) as at:
        by_address = command(tmp_path, f"sftp://127.0.0.1:{at.port}/", SFTP_CREDENTIALS=secret(at))
        assert by_address.returncode == 0, by_address.stderr
        assert "a_compressed.wav" in by_address.stdout
        by_settings = command(
            tmp_path,
            SFTP_CREDENTIALS=secret(at),
            SFTP_HOST="127.0.0.1",
            SFTP_PORT=str(at.port),
            SFTP_REMOTE_PATH="/",
        )
        assert by_settings.returncode == 0, by_settings.stderr
        assert "1 done" in by_settings.stdout
    nothing = command(tmp_path)
    assert nothing.returncode == 2
    assert "SFTP_HOST" in nothing.stderr


def test_an_alias_of_ssh_is_known(tmp_path: Path) -> None:
    public = make_key(tmp_path / "the key")
    (tmp_path / ".ssh").mkdir()
    logins = Logins(methods=("publickey",), keys=[public])
    with quirky(audio(tmp_path / "served"), logins=logins) as at:
        (tmp_path / ".ssh" / "config").write_text(
            f"Host Studio\n  HostName 127.0.0.1\n  Port {at.port}\n  User ann\n"
            f'  IdentityFile "{tmp_path}/the key"\n'
            "Host behind\n  HostName 10.0.0.1\n  ProxyJump bastion\n"
        )
        refused = command(tmp_path, "sftp://Studio/")
        assert refused.returncode == 2
        assert "--accept-new" in refused.stderr
        first = command(tmp_path, "sftp://Studio/", "--accept-new")
        assert first.returncode == 0, first.stderr
        assert (tmp_path / ".ssh" / "known_hosts").read_text() == at.known_hosts
        assert command(tmp_path, "sftp://Studio/").returncode == 0
    behind = command(tmp_path, "sftp://behind/audio")
    assert behind.returncode == 2
    assert "bastion" in behind.stderr
    assert "not supported" in behind.stderr


def test_a_password_in_the_address_is_refused_with_the_alternatives(tmp_path: Path) -> None:
    said = command(tmp_path, "sftp://ann:hunter2@127.0.0.1/audio")
    assert said.returncode == 2
    assert "hunter2" not in said.stdout + said.stderr
    for alternative in ("ssh-agent", "--identity", "SFTP_CREDENTIALS"):
        assert alternative in " ".join(said.stderr.split())


def test_without_a_terminal_nothing_is_asked(tmp_path: Path) -> None:
    (tmp_path / "known").touch()
    with quirky(audio(tmp_path / "served")) as at:
        (tmp_path / "known").write_text(at.known_hosts)
        said = command(
            tmp_path, f"sftp://ann@127.0.0.1:{at.port}/", "--known-hosts", tmp_path / "known"
        )
    assert said.returncode == 2
    assert "SFTP_CREDENTIALS" in said.stderr


def test_a_terminal_asks_and_does_not_show_the_answer(tmp_path: Path) -> None:
    with quirky(audio(tmp_path / "served")) as at:
        known = tmp_path / "known"
        known.write_text(at.known_hosts)
        controller, terminal = pty.openpty()
        process = subprocess.Popen(
            [PROGRAM, "compress", f"sftp://ann@127.0.0.1:{at.port}/", "--known-hosts", known],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        shown, sent = b"", False
        while select.select([controller], [], [], 60)[0]:
            try:
                shown += os.read(controller, 65536)
            except OSError:
                break
            if not sent and b"Password of ann@127.0.0.1" in shown:
                os.write(controller, PASSWORD.encode() + b"\n")
                sent = True
        assert process.wait(60) == 0, shown
        os.close(controller)
    assert PASSWORD.encode() not in shown
    assert b"a_compressed.wav" in shown

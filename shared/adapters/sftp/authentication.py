"""Authentication in the order of ``ssh``: keys, then the server's questions, then a password."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import paramiko

from shared.adapters.sftp.private_keys import LockedKeyError, load_private_key, public_part
from shared.config.parsers import SftpCredentials
from shared.core.sftp_errors import ServerCode, ServerError, UnreachableError
from shared.core.sftp_login import PersonalLogin

Login: TypeAlias = SftpCredentials | PersonalLogin

#: How long a person may take for all answers; servers wait two minutes (LoginGraceTime of
#: sshd_config(5)).
PERSON_S = 120.0

_TRIES = 3


@dataclass
class Authenticator:
    """Logs in again and again with the same answers, so that a person is asked once."""

    login: Login
    _password: str = ""
    _keys: dict[Path, Any] = field(default_factory=dict)
    _tried: list[str] = field(default_factory=list)
    _allowed: set[str] = field(default_factory=set)

    def authenticate(self, transport: Any, server: str) -> None:
        """Log in; ``server`` is how messages call it.

        Raises ``ServerError`` (``authentication``, ``incompatible``) and
        ``UnreachableError``.
        """
        self._tried = []
        user = self.login.username
        if self._attempt(transport, "", lambda: transport.auth_none(user)):
            return
        offered = set(self._allowed)
        with closing(self._all_keys(server)) as keys:
            for name, key in keys:
                if self._attempt(transport, name, partial(transport.auth_publickey, user, key)):
                    return
        if self._by_questions(transport, server) or self._by_password(transport, server):
            return
        raise self._rejected(server, offered)

    def _attempt(self, transport: Any, name: str, attempt: Callable[[], list[str]]) -> bool:
        """Return whether we are logged in; notes which methods the server takes next."""
        try:
            self._allowed = set(attempt() or ())  # not empty after one of several methods
        except paramiko.BadAuthenticationType as error:
            self._allowed = set(error.allowed_types)
        except paramiko.AuthenticationException as error:
            # A broken connection looks like a rejection.
            if "timeout" in str(error).lower() or not transport.is_active():
                raise UnreachableError(f"the server did not answer the login: {error}") from error
            if name:
                self._tried.append(name)
        return bool(transport.is_authenticated())

    # ── keys ──

    def _all_keys(self, server: str) -> Generator[tuple[str, Any], None, None]:
        if "publickey" not in self._allowed:
            return
        login = self.login
        if isinstance(login, SftpCredentials):
            if login.private_key:
                passphrase = login.passphrase.reveal() if login.passphrase else ""
                try:
                    key = load_private_key(login.private_key.reveal(), passphrase)
                except ValueError as error:
                    raise ServerError(
                        ServerCode.AUTHENTICATION, f"the private_key in SFTP_CREDENTIALS {error}"
                    ) from error
                yield "the private_key", key
            return
        seen = set()
        with _agent_keys(login.use_agent) as agent_keys:
            for key in agent_keys:
                seen.add(key.asbytes())
                yield f"the key {key.get_name()} of ssh-agent", key
        for path in login.identities:
            if "publickey" not in self._allowed:
                return
            key = self._identity(path, server, seen)
            if key is not None and key.asbytes() not in seen:
                yield f"the key {path}", key

    def _identity(self, path: Path, server: str, seen: set[bytes]) -> Any:
        if path in self._keys:
            return self._keys[path]
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError):
            return None
        if public_part(text) in seen:
            return None
        key, passphrase = None, ""
        for attempt in range(_TRIES + 1):
            with suppress(ValueError):
                key = load_private_key(text, passphrase)
                break
            if attempt == _TRIES or not (passphrase or _is_locked(text)):
                break
            ask = self.login.ask if isinstance(self.login, PersonalLogin) else None
            if ask is None:
                self._tried.append(
                    f"the key {path} (locked, and there is no terminal to ask for its passphrase)"
                )
                break
            passphrase = ask(f"Passphrase of the key {path}, to log in to {server}", True)
            if not passphrase:
                break
        if key is not None:
            self._keys[path] = key
        return key

    # ── questions and passwords ──

    def _by_questions(self, transport: Any, server: str) -> bool:
        if "keyboard-interactive" not in self._allowed:
            return False
        login = self.login
        if isinstance(login, PersonalLogin):
            if login.ask is None:
                return False
            return self._attempt(
                transport, "the answers given", lambda: self._interactive(transport, server)
            )
        if not login.password:
            return False
        answer = login.password.reveal()
        problem: list[str] = []

        def reply(_title: str, _text: str, prompts: list[tuple[str, bool]]) -> list[str]:
            if len(prompts) > 1:
                problem.append(f"the server asks {len(prompts)} questions at once")
            return [answer] * min(1, len(prompts)) + [""] * (len(prompts) - 1)

        name = "the password as an answer to the server's question"
        logged_in = self._attempt(
            transport, name, lambda: transport.auth_interactive(login.username, reply)
        )
        self._tried += problem
        return logged_in

    def _interactive(self, transport: Any, server: str) -> list[str]:
        """Ask a person in this thread what the server asks in paramiko's."""
        login = self.login
        assert isinstance(login, PersonalLogin)
        assert login.ask is not None
        questions: queue.Queue[list[tuple[str, bool]] | None] = queue.Queue()
        answers: queue.Queue[list[str]] = queue.Queue()
        outcome: list[list[str] | BaseException] = []

        def handler(_title: str, _text: str, prompts: list[tuple[str, bool]]) -> list[str]:
            questions.put(prompts)
            return answers.get()

        def run() -> None:
            try:
                outcome.append(transport.auth_interactive(login.username, handler))
            except BaseException as error:
                outcome.append(error)
            finally:
                questions.put(None)

        before, transport.auth_timeout = transport.auth_timeout, PERSON_S
        thread = threading.Thread(target=run, name="sftp-login", daemon=True)
        thread.start()
        try:
            while (prompts := questions.get()) is not None:
                answers.put([
                    login.ask(f"{text.strip().rstrip(':')} ({login.username}@{server})", not echo)
                    for text, echo in prompts
                ])  # fmt: skip
        except BaseException:
            transport.close()
            raise
        finally:
            transport.auth_timeout = before
        (result,) = outcome
        if isinstance(result, BaseException):
            raise result
        return result

    def _by_password(self, transport: Any, server: str) -> bool:
        login = self.login
        if isinstance(login, SftpCredentials):
            if not login.password or "password" not in self._allowed:
                return False
            self._password = login.password.reveal()
        question = f"Password of {login.username}@{server}"
        for attempt in range(_TRIES):
            if "password" not in self._allowed:
                return False
            known = bool(self._password)
            if not known:
                if not isinstance(login, PersonalLogin) or login.ask is None:
                    return False
                self._password = login.ask(f"Wrong. {question}" if attempt else question, True)

            def send() -> list[str]:
                types: list[str] = transport.auth_password(
                    login.username, self._password, fallback=False
                )
                return types

            if self._attempt(transport, "the password", send):
                return True
            self._password = ""
            if known:
                return False
        return False

    def _rejected(self, server: str, offered: set[str]) -> ServerError:
        who = f"{self.login.username}@{server}"
        methods = " or ".join(sorted(offered)) or "no method that this program supports"
        if self._tried:
            tried = ", ".join(dict.fromkeys(self._tried))
            message = f"the server rejected the login of {who} (tried: {tried}; it takes {methods})"
            return ServerError(ServerCode.AUTHENTICATION, message)
        message = f"cannot log in as {who}: the server takes {methods}, and none of these is set up"
        if isinstance(self.login, PersonalLogin):
            message += (
                ". Add a key to ssh-agent, name one by --identity, set SFTP_CREDENTIALS, or run"
                " the command in a terminal to type the password"
            )
        return ServerError(ServerCode.AUTHENTICATION, message)


def _is_locked(text: str) -> bool:
    try:
        load_private_key(text)
    except LockedKeyError:
        return True
    except ValueError:
        return False
    return False


@contextmanager
def _agent_keys(wanted: bool) -> Iterator[tuple[Any, ...]]:
    """Yield the keys of ssh-agent, which sign as long as the block runs."""
    try:
        agent = paramiko.Agent() if wanted else None
    except (paramiko.SSHException, OSError):
        agent = None
    try:
        yield agent.get_keys() if agent else ()
    finally:
        if agent:
            agent.close()

"""The control endpoint ``/_world/``: scenarios for another process, as JSON."""

from __future__ import annotations

import base64
import inspect
import json
import urllib.request
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cli.demo.drive_standin.identity import Identity, key_file
from cli.demo.drive_standin.world import World

SCENARIOS = (
    "root",
    "create_drive",
    "set_member",
    "create_folder",
    "create_shortcut",
    "create_file",
    "rename",
    "move",
    "trash",
    "restore",
    "share",
    "revoke",
    "new_revision",
    "edit",
    "delete",
    "expire_page_tokens",
    "rate_limit",
    "fail_next",
    "set_faults",
    "set_notifications",
    "set_options",
    "hide_from_changes",
)


def call(world: World, name: str, arguments: dict[str, Any], token_uri: str) -> Any:
    """Run a scenario or a control command; raises ``KeyError`` for an unknown name."""
    if "content_base64" in arguments:
        arguments["content"] = base64.b64decode(arguments.pop("content_base64"))
    if name == "key_file":
        return key_file(arguments["account"], token_uri)
    if name in SCENARIOS:
        scenario: Callable[..., Any] = getattr(world, name)
        return scenario(**arguments)
    return _CONTROLS[name](world, **arguments)


def _state(world: World) -> dict[str, Any]:
    with world.lock:
        return {
            "files": {file.id: file.name for file in world.state.files.values()},
            "drives": {drive.id: drive.name for drive in world.state.drives.values()},
            "channels": [channel.to_json() for channel in world.channels.values()],
            "changes": len(world.log.entries),
            "requests": dict(world.requests),
            "deliveries": [asdict(delivery) for delivery in tuple(world.notifier.deliveries)],
        }


def _settle(world: World, timeout_s: float = 60.0) -> bool:
    return world.notifier.settle(timeout_s)


def _issue(world: World, **arguments: Any) -> str:
    return world.identity.issue(**arguments)


def _revoke_tokens(world: World) -> None:
    world.identity.revoke_tokens()


def _set_identity(world: World, **values: Any) -> None:
    set_identity(world.identity, **values)


def set_identity(identity: Identity, **values: Any) -> None:
    """Set fields of ``Identity`` from JSON values."""
    for name, value in values.items():
        current = getattr(identity, name)
        if isinstance(current, dict):
            value = {key: set(items) for key, items in value.items()}  # noqa: PLW2901
        setattr(identity, name, type(current)(value))


_CONTROLS: dict[str, Callable[..., Any]] = {
    "state": _state,
    "settle": _settle,
    "issue_token": _issue,
    "revoke_tokens": _revoke_tokens,
    "set_identity": _set_identity,
}


class RemoteWorld:
    """A world in another process: its scenarios as methods, by the same names and arguments.

    Contents travel by path (``content="/path"``) or, for bytes, inside the request.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *positional, **arguments: self._call(name, positional, arguments)

    def _call(self, name: str, positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        if positional:
            names = list(inspect.signature(getattr(World, name)).parameters)[1:]
            arguments |= dict(zip(names, positional, strict=False))
        content = arguments.get("content")
        if isinstance(content, bytes):
            arguments["content_base64"] = base64.b64encode(content).decode()
            del arguments["content"]
        data = json.dumps(arguments, default=str).encode()
        request = urllib.request.Request(f"{self._url}/_world/{name}", data=data)  # noqa: S310
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return json.load(answer)

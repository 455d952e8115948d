"""Which method of which API a request means, and what it is answered with."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from tests.terraform.control_plane.errors import ApiError, disabled
from tests.terraform.control_plane.world import Json, Project, World

Handler = Callable[["Call"], Json]


@dataclass(frozen=True)
class Call:
    """A request: its path's variables, its query, and its body, parsed and raw."""

    world: World
    params: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    body: Json
    raw: bytes
    path: str
    service: str

    def __getitem__(self, name: str) -> str:
        return self.params[name]

    @property
    def project(self) -> Project:
        """Return the project that the path is of, else the one that is charged."""
        ref = self.params.get("project") or self.headers.get("x-goog-user-project", "")
        return self.world.project(ref)

    @property
    def name(self) -> str:
        """Return the full name of the resource that the path means, ``//SERVICE/PATH``."""
        return f"//{self.service}/{self.path.partition(':')[0]}"

    @property
    def mask(self) -> str:
        """Return the update mask, from the query or the body."""
        return str(self.query.get("updateMask") or self.body.get("updateMask") or "")


@dataclass
class Api:
    """One API: ``service`` is its name, ``prefix`` its first element of the fake's paths."""

    service: str
    prefix: str
    owner: Callable[[Call], Project] = field(default=lambda call: call.project)
    needs_enabling: bool = True
    routes: list[tuple[str, re.Pattern[str], Handler]] = field(default_factory=list)

    def route(self, method: str, pattern: str) -> Callable[[Handler], Handler]:
        """Answer a method on a path; ``{x}`` is one element of it, ``{x=**}`` any number."""
        compiled = _compile(pattern)

        def register(handler: Handler) -> Handler:
            self.routes.append((method, compiled, handler))
            return handler

        return register

    def answer(self, method: str, path: str, call: Call) -> Json:
        """Answer a request, after what every API checks."""
        for verb, pattern, handler in self.routes:
            match = pattern.fullmatch(path)
            if verb == method and match:
                return self._handle(handler, replace(call, params=_unquoted(match)))
        call.world.gaps.append(f"{method} {self.service} {path}")
        raise ApiError(404, f"Method not found: {method} {self.service}/{path}")

    def _handle(self, handler: Handler, call: Call) -> Json:
        call = _by_id(call)
        if self.needs_enabling:
            project = self.owner(call)
            if not call.world.answers(project, self.service):
                raise disabled(self.service, str(project.number))
        return handler(call)


def _compile(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]+\})", pattern)
    return re.compile("".join(_part(part) for part in parts))


def _part(text: str) -> str:
    if not text.startswith("{"):
        return re.escape(text)
    name, _, stars = text[1:-1].partition("=")
    return f"(?P<{name}>.+)" if stars else f"(?P<{name}>[^/:]+)"


def _unquoted(match: re.Match[str]) -> dict[str, str]:
    return {name: unquote(value) for name, value in match.groupdict().items()}


def _by_id(call: Call) -> Call:
    """Put the project's id in the place of its number, so that names are the same."""
    given = call.params.get("project")
    path = re.sub(r"^v[0-9][a-z0-9]*/|^compute/v1/|^storage/v1/", "", unquote(call.path))
    if not given or given == "-":
        return replace(call, path=path)
    project = call.world.project(given).id
    path = path.replace(f"projects/{given}", f"projects/{project}", 1)
    return replace(call, params=call.params | {"project": project}, path=path)


def text(body: Json, *path: str) -> Any:
    """Return the value at a path of nested objects, or ``None``."""
    value: Any = body
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value

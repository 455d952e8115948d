"""The Drive v3 discovery document that google-api-python-client carries: methods, parameters."""

from __future__ import annotations

import functools
import importlib.resources
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli.demo.drive_standin.errors import ApiError, invalid


@functools.cache
def document() -> dict[str, Any]:
    """Return the document."""
    files = importlib.resources.files("googleapiclient.discovery_cache") / "documents"
    loaded: dict[str, Any] = json.loads((files / "drive.v3.json").read_text("utf-8"))
    return loaded


def schema(name: str) -> dict[str, Any]:
    """Return the schema of that name."""
    found: dict[str, Any] = document()["schemas"][name]
    return found


@dataclass(frozen=True)
class Method:
    """One method of the API: its id without ``drive.``, its verb, path and parameters."""

    id: str
    verb: str
    pattern: re.Pattern[str]
    parameters: Mapping[str, Mapping[str, Any]]
    response: str | None

    def parse(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the query's parameters by their types, with defaults filled in.

        Unlike Drive, a parameter that the document does not know is refused, so that a
        misspelt one cannot pass a test.
        """
        for name in query:
            if name not in self.parameters:
                raise ApiError(400, "badRequest", f'Unknown name "{name}"', location=name)
        return {
            name: _typed(name, query.get(name, spec.get("default")), spec)
            for name, spec in self.parameters.items()
            if spec.get("location") != "path"
        }


def _typed(name: str, text: str | None, spec: Mapping[str, Any]) -> Any:
    if text is None:
        if spec.get("required"):
            message = f"Required parameter: {name}"
            raise ApiError(400, "required", message, location=name)
        return None
    if spec["type"] == "boolean":
        if text not in ("true", "false"):
            raise invalid(name, f"Invalid boolean value: '{text}'.")
        return text == "true"
    if spec["type"] == "integer":
        if not text.isdigit() or int(text) < int(spec.get("minimum", 0)):
            message = f"Invalid value '{text}'. Values must be within the range: [1, 1000]"
            raise invalid(name, message)
        return min(int(text), int(spec.get("maximum", text)))
    return text


@functools.cache
def methods() -> tuple[Method, ...]:
    """Return every method of the document."""
    found = []
    common = document()["parameters"]
    for resource in document()["resources"].values():
        for spec in resource["methods"].values():
            path = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(spec["path"]))
            found.append(
                Method(
                    spec["id"].removeprefix("drive."),
                    spec["httpMethod"],
                    re.compile(path),
                    common | spec.get("parameters", {}),
                    spec.get("response", {}).get("$ref"),
                )
            )
    return tuple(found)


def find(verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """Return the method for a path below ``/drive/v3/``, and the path's parameters."""
    for method in methods():
        match = method.pattern.fullmatch(path)
        if match and method.verb == verb:
            return method, match.groupdict()
    return None

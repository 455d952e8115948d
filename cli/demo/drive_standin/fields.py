"""The ``fields`` parameter: parse a partial-response mask, check it, apply it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from cli.demo.drive_standin import discovery
from cli.demo.drive_standin.errors import ApiError

#: The fields to keep, by name; an empty mask keeps everything.
Mask: TypeAlias = dict[str, "Mask"]

_TOKEN = re.compile(r"[A-Za-z0-9_@*]+|[(),/]")


def parse(text: str) -> Mask:
    """Return the mask of ``a,b(c,d/e),*``; raises ``ApiError`` 400 for bad syntax."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text) or not tokens:
        raise _error(text)
    mask = _names(tokens, text)
    if tokens:
        raise _error(text)
    return mask


def _error(text: str) -> ApiError:
    return ApiError(400, "invalidParameter", f"Invalid field selection {text}", location="fields")


def _names(tokens: list[str], text: str) -> Mask:
    mask: Mask = {}
    while True:
        _merge(mask, _path(tokens, text))
        if not tokens or tokens[0] != ",":
            return mask
        tokens.pop(0)


def _path(tokens: list[str], text: str) -> Mask:
    if not tokens or tokens[0] in "(),/":
        raise _error(text)
    name = tokens.pop(0)
    if tokens and tokens[0] == "/":
        tokens.pop(0)
        return {name: _path(tokens, text)}
    if tokens and tokens[0] == "(":
        tokens.pop(0)
        inner = _names(tokens, text)
        if not tokens or tokens.pop(0) != ")":
            raise _error(text)
        return {name: inner}
    return {name: {}}


def _merge(mask: Mask, more: Mask) -> None:
    for name, inner in more.items():
        if name in mask and mask[name] and inner:
            _merge(mask[name], inner)
        elif name not in mask:
            mask[name] = inner
        else:
            mask[name] = {}


def check(mask: Mask, schema: Mapping[str, Any]) -> None:
    """Raise ``ApiError`` 400 when ``mask`` names a field that ``schema`` lacks."""
    properties = schema.get("properties", {})
    for name, inner in mask.items():
        if name == "*":
            continue
        if name not in properties:
            raise _error(name)
        if inner:
            spec = properties[name]
            if spec.get("type") == "array":
                spec = spec["items"]
            check(inner, discovery.schema(spec["$ref"]) if "$ref" in spec else spec)


def apply(mask: Mask, value: Any) -> Any:
    """Apply ``mask`` to a JSON value."""
    if isinstance(value, list):
        return [apply(mask, item) for item in value]
    if not mask or "*" in mask or not isinstance(value, dict):
        return value
    return {name: apply(mask[name], item) for name, item in value.items() if name in mask}

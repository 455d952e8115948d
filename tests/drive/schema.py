"""A check of JSON against the schemas of an API's discovery document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cli.demo.drive_standin import discovery

_FORMATS = {
    "int64": r"-?\d+",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
}


def problems(value: Any, schema: str) -> list[str]:
    """Return how ``value`` violates the schema; empty if it conforms."""
    return list(_check(value, {"$ref": schema}, schema))


def _check(value: Any, spec: Mapping[str, Any], where: str) -> Iterator[str]:
    if "$ref" in spec:
        spec = discovery.schema(spec["$ref"])
    kind = spec.get("type", "object")
    if not isinstance(value, _TYPES[kind]) or (kind == "integer" and isinstance(value, bool)):
        yield f"{where}: {value!r} is no {kind}"
        return
    pattern = _FORMATS.get(spec.get("format", ""))
    if pattern and isinstance(value, str) and not re.fullmatch(pattern, value):
        yield f"{where}: {value!r} is no {spec['format']}"
    if kind == "array":
        for number, item in enumerate(value):
            yield from _check(item, spec["items"], f"{where}[{number}]")
    elif kind == "object":
        yield from _check_object(value, spec, where)


def _check_object(value: Mapping[str, Any], spec: Mapping[str, Any], where: str) -> Iterator[str]:
    for name, item in value.items():
        inner = spec.get("properties", {}).get(name) or spec.get("additionalProperties")
        if inner is None:
            yield f"{where}.{name} is not in the document"
        else:
            yield from _check(item, inner, f"{where}.{name}")

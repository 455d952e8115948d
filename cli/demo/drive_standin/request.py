"""One call of the API, as its method sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """The caller, the typed parameters by name, the body and the base address."""

    account: str
    parameters: Mapping[str, Any]
    body: Mapping[str, Any]
    base: str

    def __getitem__(self, name: str) -> Any:
        return self.parameters[name]

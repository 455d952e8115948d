"""Settings from a small TOML file: the same names as the environment variables."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from datetime import date
from difflib import get_close_matches
from pathlib import Path

from shared.core.errors import ConfigurationError


def read(path: Path, known: Iterable[str]) -> dict[str, str]:
    """Return the variables that a file sets, in the form of environment variables.

    A name is written as the variable or in lower case; ``known`` are the variables. Lists
    become commas, tables JSON. Raises ``ConfigurationError`` with every problem.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError([f"cannot read {path}: {error.strerror}"]) from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigurationError([f"{path} is not valid TOML: {error}"]) from error
    names, values, problems = set(known), dict[str, str](), []
    for key, value in content.items():
        name = key.upper()
        if name not in names:
            close = get_close_matches(name, names, n=1)
            hint = f"; did you mean {close[0].lower()}?" if close else ""
            problems.append(f"{path}: {key} is not a setting{hint}")
        elif name in values:
            problems.append(f"{path}: {key} is set twice")
        else:
            values[name] = _text(value)
    if problems:
        raise ConfigurationError(problems)
    return values


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return value.isoformat() if isinstance(value, date) else str(value)

"""Writes infra/hashes.json: the SHA-256 of each file that pip may choose for constraints.txt.

It also writes the requirements of two tools that are no dependency of the project. What has its
hashes already is not looked up: remove it from the files to read it again.

pip itself reads the package index that it is configured for; no address is written down. Files
are those for Python 3.11 to 3.14 on Linux and macOS. A source archive counts only where a package
has no such wheel, since building it runs its code.

    .venv/bin/python -m infra.hashes
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version
from pip._internal.commands import create_command
from pip._internal.index.collector import parse_links
from pip._internal.models.link import Link
from pip._internal.models.search_scope import SearchScope

from infra.requirements import ROOT, lines_of

HASHES = ROOT / "infra" / "hashes.json"

#: Tools that run beside the project, by the name of their file in infra/requirements.
TOOLS = {"audit": "pip-audit==2.10.1", "sbom": "cyclonedx-bom==7.5.0"}

_NOTE = "# `make requirements` writes this: infra/hashes.py names the tool."

_THREADS = 8
_PYTHON = re.compile(r"py3|py2\.py3|cp311|cp312|cp313|cp314|cp3\d+")
_ABI = re.compile(r"none|abi3|cp311|cp312|cp313|cp314")
_PLATFORM = re.compile(
    r"any|(many|musl)?linux.*_(x86_64|aarch64)|macosx_.*_(x86_64|arm64|universal2)"
)


def pins() -> dict[str, str]:
    """Return each package of constraints.txt and its version."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines)


def files_of(name: str, version: str, links: dict[str, str]) -> list[str]:
    """Return the hashes of a version's files that pip may choose, by the links of its page."""
    wheels, archives = [], []
    for file, digest in links.items():
        try:
            if file.endswith(".whl"):
                _, found, _, tags = parse_wheel_filename(file)
                fits = any(
                    _PYTHON.fullmatch(tag.interpreter)
                    and _ABI.fullmatch(tag.abi)
                    and _PLATFORM.fullmatch(tag.platform)
                    for tag in tags
                )
                if found == Version(version) and fits:
                    wheels.append(digest)
            elif parse_sdist_filename(file)[1] == Version(version):
                archives.append(digest)
        except (InvalidWheelFilename, InvalidSdistFilename, ValueError):
            continue
    if not wheels and not archives:
        raise SystemExit(f"the index has no file of {name}=={version}")
    return sorted(set(wheels or archives))


def tool_pins(tool: str) -> dict[str, str]:
    """Return a tool and all that it needs, with their versions."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
    command += ["--ignore-installed", "--only-binary=:all:", "--report=-", tool]
    report = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    found = (one["metadata"] for one in report["install"])
    return {canonicalize_name(one["name"]): one["version"] for one in found}


def read_index(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the SHA-256 of each file of these packages, by the names of package and file."""
    command: Any = create_command("install")
    options, _ = command.parse_args([])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options, session)
        scope = SearchScope.create([], [options.index_url, *options.extra_index_urls], False)

        def files(name: str) -> dict[str, str]:
            found: dict[str, str] = {}
            for address in scope.get_index_urls_locations(name):
                page = finder._link_collector.fetch_response(Link(address))
                for link in parse_links(page) if page else ():
                    if link.hash_name == "sha256" and link.hash:
                        found[link.filename] = link.hash
            return found

        wanted = list(names)
        with ThreadPoolExecutor(_THREADS) as pool:
            return dict(zip(wanted, pool.map(files, wanted), strict=True))


def _file_of(tool: str) -> Path:
    return ROOT / "infra" / "requirements" / f"{tool}.txt"


def _is_written(name: str, tool: str) -> bool:
    path = _file_of(name)
    return path.exists() and f"\n{tool} " in path.read_text()


def main() -> None:
    """Read the index for what is new, and write the hashes."""
    project = {canonicalize_name(name): version for name, version in pins().items()}
    known: dict[str, list[str]] = json.loads(HASHES.read_text()) if HASHES.exists() else {}
    new = {name: one for name, one in project.items() if f"{name}=={one}" not in known}
    tools = {name: tool_pins(tool) for name, tool in TOOLS.items() if not _is_written(name, tool)}
    pages = read_index(set(new).union(*tools.values()))
    known |= {f"{name}=={one}": files_of(name, one, pages[name]) for name, one in new.items()}
    hashes = {pin: known[pin] for pin in (f"{name}=={one}" for name, one in project.items())}
    HASHES.write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
    for tool, needed in tools.items():
        lines = [
            lines_of(f"{name}=={version}", files_of(name, version, pages[name]))
            for name, version in sorted(needed.items())
        ]
        _file_of(tool).write_text("\n".join([_NOTE, *lines]) + "\n")


if __name__ == "__main__":
    main()

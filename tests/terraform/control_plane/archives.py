"""What the build of a Python function refuses of its archive."""

from __future__ import annotations

import ast
import io
import zipfile
from collections.abc import Mapping

from tests.terraform.control_plane.errors import invalid, require


def check(archive: bytes, entry_point: str, environment: Mapping[str, str]) -> None:
    """Refuse an archive without ``main.py`` (or another, by ``GOOGLE_FUNCTION_SOURCE``) and
    ``requirements.txt`` at its root, or whose main module does not define the entry point.
    """
    try:
        content = zipfile.ZipFile(io.BytesIO(archive))
    except zipfile.BadZipFile:
        raise invalid("Build failed: the source is no zip archive.") from None
    names = set(content.namelist())
    main = environment.get("GOOGLE_FUNCTION_SOURCE", "main.py")
    require(main in names, f"Build failed: missing {main}; GOOGLE_FUNCTION_SOURCE names another.")
    require("requirements.txt" in names, "Build failed: missing requirements.txt at the root.")
    tree = _parse(content.read(main), main)
    defined = {name for node in tree.body for name in _defined(node)}
    message = f"Container Healthcheck failed: {main} does not define {entry_point}."
    require(entry_point in defined, message)


def _parse(source: bytes, name: str) -> ast.Module:
    try:
        return ast.parse(source, name)
    except SyntaxError as error:
        raise invalid(f"Build failed: {error}") from None


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []

"""Writes the tables of inputs and outputs in infra/terraform/README.md from the configuration."""

from __future__ import annotations

import re
from pathlib import Path

TERRAFORM = Path(__file__).resolve().parent / "terraform"
README = TERRAFORM / "README.md"

_TABLES = re.compile(r"(?<=<!-- tables -->\n).*?(?=<!-- end of tables -->)", re.DOTALL)


def tables() -> str:
    """Return the tables in Markdown: inputs with type and default, outputs with description."""
    text = "\n".join(path.read_text() for path in sorted(TERRAFORM.glob("*.tf")))
    inputs = [
        f"| `{name}` | {_attribute(block, 'description')} | `{_type(block)}` | {_default(block)} |"
        for name, block in sorted(_blocks(text, "variable"))
    ]
    outputs = [
        f"| `{name}` | {_attribute(block, 'description')} |"
        for name, block in sorted(_blocks(text, "output"))
    ]
    lines = [
        "",
        "## Inputs",
        "",
        "| name | meaning | type | default |",
        "|---|---|---|---|",
        *inputs,
    ]
    lines += ["", "## Outputs", "", "| name | meaning |", "|---|---|", *outputs, ""]
    return "\n".join(lines) + "\n"


def written() -> str:
    """Return the README with its tables as they should be."""
    return _TABLES.sub(lambda _: tables(), README.read_text())


def _blocks(text: str, kind: str) -> list[tuple[str, str]]:
    return re.findall(rf'^{kind} "(\w+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL)


def _attribute(block: str, name: str) -> str:
    found = re.search(rf'^  {name} += "(.*)"$', block, re.MULTILINE)
    assert found, block
    return found[1].replace("|", "\\|").replace('\\"', '"')


def _type(block: str) -> str:
    found = re.search(r"^  type += (.*?)$", block, re.MULTILINE)
    assert found, block
    return "object" if found[1].startswith("object(") else found[1]


def _default(block: str) -> str:
    found = re.search(r"^  default += (.*?)$", block, re.MULTILINE)
    return f"`{found[1]}`" if found else "required"


def main() -> None:
    """Write them."""
    README.write_text(written())


if __name__ == "__main__":
    main()

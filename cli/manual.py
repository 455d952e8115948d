"""The man page, made from the commands."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click


def page(group: click.Group, name: str, version: str) -> str:
    """Return the manual of all commands as roff with the ``man`` macros (man(7))."""
    context = click.Context(group, info_name=name)
    return "\n".join(_lines(group, context, name, version)) + "\n"


def _lines(group: click.Group, context: click.Context, name: str, version: str) -> Iterator[str]:
    summary = _plain(group.help or "").partition("\n")[0]
    yield f'.TH {name.upper()} 1 "" "{name} {version}" "User Commands"'
    yield from (".SH NAME", f"{name} \\- {_roff(summary.rstrip('.'))}")
    yield from (".SH SYNOPSIS", f".B {_roff(name)}", "[\\fIoptions\\fR] \\fIcommand\\fR …")
    yield from (".SH DESCRIPTION", *_paragraphs(group.help or ""))
    yield from (".SH OPTIONS", *_options(group, context))
    yield ".SH COMMANDS"
    for command_name in group.list_commands(context):
        command = group.get_command(context, command_name)
        assert command is not None
        inner = click.Context(command, info_name=command_name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        yield from (f".SS {_roff(command_name)}", f".B {_roff(name)} {_roff(command_name)}")
        yield from (_roff(usage), ".PP", *_paragraphs(command.help or ""))
        yield from _options(command, inner)
        yield from _paragraphs(command.epilog or "")
    yield from (".SH SETTINGS AND EXIT STATUS", *_paragraphs(group.epilog or ""))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        if record := parameter.get_help_record(context):
            names, text = record
            yield from (".TP", f".B {_roff(names)}", _roff(text))


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", _plain(text)):
        if paragraph.startswith("\b"):
            yield from (".nf", *map(_roff, paragraph.splitlines()[1:]), ".fi")
        elif paragraph:
            yield from (".PP", _roff(" ".join(paragraph.split())))


def _plain(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())


def _roff(text: str) -> str:
    """Escape a line: a backslash, a minus, and a dot or quote that would start a request."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped

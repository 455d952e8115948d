"""``audio-pipeline serve``: the whole system on this machine."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from cli import exits
from cli.app import environment, load
from cli.options import Command, Invocation
from cli.serve import systemd
from cli.serve.plan import SystemPlan
from cli.serve.processes import listen_outside
from cli.serve.story import CLOUD_LOOK_S, LOCAL_LOOK_S, Story
from cli.serve.system import System
from cli.stop import Stop
from cli.ui.console import screen
from cli.ui.text import shown
from shared.config.settings import Settings

PORT = 8080

#: Where the demonstration keeps its files, below the working directory.
DEMO_FOLDER = Path("audio-pipeline-demo")

#: Log lines of the processes that the terminal shows.
_SHOWN = ("WARNING", "ERROR", "CRITICAL")


@click.command(
    cls=Command,
    examples="audio-pipeline serve --demo\n"
    "DRIVE_FOLDER_IDS=1a2B3c4D audio-pipeline serve --workers 2\n"
    "audio-pipeline serve --watch ~/Recordings",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS",
    help="Where to listen; 0.0.0.0 for every address of this machine.",
)  # fmt: skip
@click.option(
    "--port", type=click.IntRange(0, 65535), metavar="PORT",
    help="Port of the dashboard and the webhook.  [default: 8080, or the next free one]",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N",
    help="How many recordings to extract at the same time.",
)  # fmt: skip
@click.option(
    "--watch", "folders", multiple=True, metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Also extract every new recording below DIR. May be given several times.",
)  # fmt: skip
@click.option("--demo", is_flag=True, help="Run with stand-ins for Drive and an SFTP server.")
@click.option(
    "--emulators", is_flag=True,
    help="With --demo: use emulators of Pub/Sub, Firestore and Cloud Storage.",
)  # fmt: skip
@click.pass_obj
def serve(
    invocation: Invocation,
    host: str,
    port: int | None,
    workers: int,
    folders: tuple[Path, ...],
    demo: bool,
    emulators: bool,
) -> int:
    """Run the whole system on this machine until Ctrl-C.

    It watches Google Drive, compresses the SFTP server's files at night (SCHEDULE), and
    serves the dashboard. What is not configured is left out. Settings are environment
    variables; docs/self-hosting.md explains them and shows a systemd unit.
    """
    if emulators and not demo:
        raise click.UsageError("--emulators needs --demo")
    stop = Stop()
    with stop.on_signals(), ExitStack() as stack:
        if demo:
            from cli.demo.director import run  # noqa: PLC0415 - the stand-ins take a second

            front = stack.enter_context(_listen(host, port))
            return run(
                DEMO_FOLDER,
                front,
                stop,
                workers=workers,
                verbose=invocation.verbose,
                on_emulators=emulators,
            )
        app = load(invocation)
        environ = environment(invocation)
        plan = SystemPlan.of(app.settings, environ, folders=folders, workers=workers)
        app.check_reachable()
        front = stack.enter_context(_listen(host, port))
        story = _story(app.settings, is_quiet=invocation.quiet)
        system = System(
            app.settings,
            plan,
            front,
            # The terminal shows the processes' logs as part of the story.
            {**environ, "LOG_FORMAT": "json"} if screen.out.is_terminal else dict(environ),
            on_line=_Log(story, verbose=invocation.verbose),
            on_event=story.on_event,
        )
        with system, story.showing():
            if not invocation.quiet:
                screen.line("starting", error=True)
            system.wait_until_ready(stop.requested)
            if not stop.requested():
                systemd.notify("READY=1")
                if not invocation.quiet:
                    _explain(plan, app.settings, front)
            _wait(system, stop)
            systemd.notify("STOPPING=1")
    return exits.OK


def _listen(host: str, port: int | None) -> socket.socket:
    front = listen_outside(host, PORT if port is None else port, is_fixed=port is not None)
    taken = front.getsockname()[1]
    if port is None and taken != PORT:
        screen.line(f"port {PORT} is taken; using {taken}", error=True)
    return front


def _story(settings: Settings, *, is_quiet: bool) -> Story:
    from shared.bootstrap import Services  # noqa: PLC0415

    is_local = settings.tracker_url.kind == "sqlite"
    return Story(
        Services(settings).tracker,
        look_every_s=LOCAL_LOOK_S if is_local else CLOUD_LOOK_S,
        is_live=screen.out.is_terminal,
        is_quiet=is_quiet,
    )


class _Log:
    """Takes the processes' output: all of it off a terminal, else what needs attention."""

    def __init__(self, story: Story, *, verbose: bool) -> None:
        self._story = story
        self._all = verbose or not screen.out.is_terminal

    def __call__(self, name: str, line: str) -> None:
        if self._all:
            print(line, file=sys.stderr, flush=True)
            return
        try:
            entry = json.loads(line)
            severity, message = entry["severity"], entry["message"]
            logger = str(entry.get("logger", ""))
        except (ValueError, KeyError, TypeError):
            severity, message, logger = "WARNING", line, ""
        # How a recording ended is part of the story.
        if severity in _SHOWN and not logger.startswith("shared.tracking"):
            self._story.say((f"{name}: ", "dim"), (shown(message), "yellow"))


def _explain(plan: SystemPlan, settings: Settings, front: socket.socket) -> None:
    host, port = front.getsockname()[:2]
    reachable = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104
    rows = [
        ("dashboard", f"http://{reachable}:{port}/"),
        (
            "Drive",
            f"swept every {settings.sweep_minutes:g} min" if plan.drive else "not configured",
        ),
        ("SFTP", f"at {settings.schedule}" if plan.sftp else "not configured"),
        *(("folder", str(folder)) for folder in plan.folders),
    ]
    for name, text in rows:
        screen.line(f"  {name:<10}", text)


def _wait(system: System, stop: Stop) -> None:
    """Wait for a signal; systemd's watchdog hears from us as long as the port answers."""
    period_s = systemd.watchdog_s()
    while not stop.wait(min(5.0, period_s / 3 if period_s else 5.0)):
        if period_s and system.is_alive():
            systemd.notify("WATCHDOG=1")

"""``serve --demo``: adds recordings, reports how each ends, and compares that with the plan."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from cli import exits
from cli.demo import emulators, stage
from cli.demo.stage import Demo
from cli.demo.summary import print_table
from cli.serve.plan import SystemPlan
from cli.serve.story import LOCAL_LOOK_S, Story
from cli.serve.system import System
from cli.stop import Stop
from cli.ui.console import screen
from cli.ui.text import place
from shared.bootstrap import Services
from shared.config.settings import Settings

#: Between two recordings that appear, in seconds.
_PAUSE_S = 1.5

#: How long after a recording ended it is certain to be on the screen, in seconds.
_SHOWN_S = 3 * LOCAL_LOOK_S

#: How long the webhook's channel may take to open, in seconds.
_CHANNEL_S = 60.0


def run(
    root: Path,
    front: socket.socket,
    stop: Stop,
    *,
    workers: int,
    verbose: bool,
    on_emulators: bool = False,
) -> int:
    """Run the demonstration with its files below ``root``; returns the exit status."""
    port = front.getsockname()[1]
    root = root.absolute()
    screen.line(("audio-pipeline, the whole system on this machine", "bold"))
    screen.line(("Stand-ins take the place of Google Drive and an SFTP server.\n", "dim"))
    stage.clear(root)
    with (
        _starting_emulators(root, stop.wait) if on_emulators else nullcontext() as cloud,
        _making() as on_made,
        stage.prepared(root, port, on_made, stop.wait) as demo,
    ):
        on_made("")
        ours = Settings.variables()
        environ = {name: text for name, text in os.environ.items() if name not in ours}
        environ |= demo.environ
        environ |= cloud.environ if cloud else {}
        settings = Settings.from_environment(environ)
        services = Services(settings)
        story = Story(services.tracker, look_every_s=LOCAL_LOOK_S, is_live=screen.out.is_terminal)
        with (root / "serve.log").open("w", encoding="utf-8") as log:

            def on_line(name: str, line: str) -> None:
                print(f"{name}: {line}", file=log, flush=True)
                if verbose:
                    print(f"{name}: {line}", file=sys.stderr)

            plan = SystemPlan(drive=True, sftp=True, workers=workers)
            system = System(
                settings, plan, front, environ, on_line=on_line, on_event=story.on_event
            )
            with system, story.showing():
                if cloud:
                    cloud.subscribe(system.push_addresses)
                story.note = "starting the functions, the queue and the clock"
                system.wait_until_ready(stop.requested)
                story.note = ""
                status = _play(demo, system, services, story, stop)
                if status != exits.INTERRUPTED:
                    _invite(demo, f"http://127.0.0.1:{port}/", story)
                if status == exits.FAILED:
                    story.say(f"The log is {place((root / 'serve.log').as_uri())}")
                if screen.out.is_terminal and status != exits.INTERRUPTED:
                    while not stop.wait(1.0):
                        for file_id, name in demo.drop():
                            story.appeared(file_id, name)
                return status


@contextmanager
def _starting_emulators(
    root: Path, is_stopped: Callable[[float], bool]
) -> Iterator[emulators.Emulators]:
    with ExitStack() as stack:
        with screen.err.status("starting the emulators of Pub/Sub, Firestore and Cloud Storage"):
            cloud = stack.enter_context(emulators.running(root, is_stopped))
        yield cloud


@contextmanager
def _making() -> Iterator[stage.OnMade]:
    with screen.err.status("making the recordings") as status:

        def on_made(name: str) -> None:
            if not name:
                status.stop()
            elif screen.err.is_terminal:
                status.update(f"making {name}")

        yield on_made


def _play(demo: Demo, system: System, services: Services, story: Story, stop: Stop) -> int:
    """Let everything appear and end; returns the exit status."""
    demo.world.notifier.on_send = lambda state: story.notified() if state == "change" else None
    end = time.monotonic() + _CHANNEL_S
    # What appears while ``maintain`` opens the channel is found by it, not by the webhook.
    while not system.clock.runs("maintain") and time.monotonic() < end and not stop.wait(0.1):
        pass
    in_drive = [item for item in demo.items if item.source == "drive"]
    for item in in_drive:
        if stop.wait(_PAUSE_S):
            return exits.INTERRUPTED
        demo.appear(item, story.appeared)
    stage.wait_for(demo, services.tracker, in_drive, stop.wait)
    if stop.wait(_SHOWN_S):
        return exits.INTERRUPTED
    story.say(("\nThe nightly run, ahead of time: compressing the SFTP server's files.", "bold"))
    system.clock.run_now("nightly")
    stage.wait_for(demo, services.tracker, demo.items, stop.wait)
    if stop.wait(_SHOWN_S):
        return exits.INTERRUPTED
    rows = stage.endings(demo, services.tracker, services.storage)
    story.say("")
    print_table(rows)
    wrong = [row for row in rows if row.problem]
    for row in wrong:
        story.say((f"{row.item.name} {row.problem}", "red"))
    if wrong:
        return exits.FAILED
    url = services.settings.storage_url
    where = f"{place((demo.root / 'audio').as_uri())}/"
    if url.kind == "gs":
        emulator = os.environ["STORAGE_EMULATOR_HOST"]
        where = f"gs://{url.bucket}, which is {emulator}/storage/v1/b/{url.bucket}/o"
    story.say(f"\nAll {len(rows)} ended as expected. The audio is in {where}")
    return exits.OK


def _invite(demo: Demo, url: str, story: Story) -> None:
    if not screen.out.is_terminal:
        return
    folder = place(demo.drive_folder.as_uri())
    story.say("\nDashboard   ", (url, "bold cyan"))
    story.say("Your own    ", (f"cp meeting.mp4 {folder}/", "bold"))
    story.say("Stop        Ctrl-C\n")

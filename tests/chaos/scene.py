"""The dependencies of a run, and the environment in which the pipeline finds them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.demo.drive_standin.control import RemoteWorld
from tests.chaos.cast import OWNER, READER, Stage
from tests.chaos.gate import Gate, gate_to
from tests.services import drive_standin
from tests.sftp import Sshd, sshd_running


@dataclass(frozen=True)
class Scene:
    """Drive, the SFTP server and the disk. ``disk`` may be filled, if there is one."""

    stage: Stage
    gates: Mapping[str, Gate]
    sshd: Sshd
    disk: Path | None

    def environ(self, directory: Path, *, lease_s: float) -> dict[str, str]:
        """Return the pipeline's environment, without the queues and the webhook."""
        address = f"http://127.0.0.1:{self.gates['Drive'].port}"
        key = directory / "key.json"
        content = self.stage.world.key_file(account=READER)
        key.write_text(json.dumps(content | {"token_uri": f"{address}/token"}))
        host_key = (self.sshd.base / "host.pub").read_text()
        login = {
            "username": self.sshd.user,
            "private_key": (self.sshd.base / "client").read_text(),
            "known_hosts": f"[127.0.0.1]:{self.gates['SFTP'].port} {host_key}",
        }
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "TMPDIR": str(directory / "temporary"),
            "LOG_FORMAT": "json",
            "ENCODE_WORKERS": "1",
            "LEASE_SECONDS": f"{lease_s:g}",
            "STORAGE_URL": str(directory / "audio"),
            "TRACKER_URL": f"sqlite:///{directory / 'tracker.db'}",
            "DRIVE_API_ENDPOINT": f"{address}/drive/v3/",
            "DRIVE_FOLDER_IDS": self.stage.watched,
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "SFTP_HOST": "127.0.0.1",
            "SFTP_PORT": str(self.gates["SFTP"].port),
            "SFTP_REMOTE_PATH": str(self.sshd.root),
            "SFTP_CREDENTIALS": json.dumps(login),
            "SFTP_SETTLE_MINUTES": "0",
        }


@contextmanager
def scene(directory: Path, clips: int) -> Iterator[Scene]:
    """Run the dependencies in ``directory`` until the block ends; ``clips`` sizes the disk."""
    with ExitStack() as stack:
        disk = stack.enter_context(_small_disk(directory / "audio", clips))
        (directory / "temporary").mkdir()
        port, world = stack.enter_context(drive_standin(directory))
        sshd = stack.enter_context(sshd_running())
        gates = {
            "Drive": stack.enter_context(gate_to(port)),
            "SFTP": stack.enter_context(gate_to(sshd.port)),
        }
        yield Scene(_stage(world, sshd), gates, sshd, disk)


def _stage(world: RemoteWorld, sshd: Sshd) -> Stage:
    folders = [world.create_folder(name, owner=OWNER) for name in ("Google Meet", "Elsewhere")]
    for folder in folders:
        world.share(folder, READER)
    # The directory is never empty, which would be an alert.
    (sshd.root / "day 0").mkdir()
    shutil.chown(sshd.root, os.getuid())
    return Stage(world, sshd.root, *folders)


@contextmanager
def _small_disk(path: Path, clips: int) -> Iterator[Path | None]:
    """Mount a file system that can be filled; yields ``None`` where only root could."""
    path.mkdir()
    size = 64 + clips // 4  # MiB: four times what the objects take
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=700", "chaos", str(path)]
    if os.getuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)

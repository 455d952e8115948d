from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux hides a process")

_PRINT = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE


@pytest.mark.parametrize(
    ("program", "dumpable"),
    [
        ("", "1"),
        ("from shared.bootstrap import Services; Services.from_environment({})", "0"),
        ("import functions.extract_audio.main", "0"),
        ("import functions.sftp_compress.main", "0"),
        ("import sys; sys.argv = ['', '--version']\n"
         "from cli.main import main\n"
         "try: main()\n"
         "except SystemExit: pass", "0"),
        ("from shared.media.ffmpeg.sandbox import Sandbox\n"
         "Sandbox().start(['/bin/true']).wait()", "0"),
        ("import os\nfrom shared.core.kernel import hide_process\n"
         "hide_process()\n"
         "if os.fork(): os._exit(os.waitstatus_to_exitcode(os.wait()[1]))", "0"),
    ],
)  # fmt: skip
def test_every_process_that_has_secrets_is_hidden(program: str, dumpable: str) -> None:
    command = [sys.executable, "-c", f"{program}\n{_PRINT}"]
    printed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout

    assert printed.split()[-1].decode() == dumpable


def test_a_start_of_ffmpeg_closes_no_million_of_files() -> None:
    program = (
        "import resource; limit = resource.RLIMIT_NOFILE\n"
        "hard = resource.getrlimit(limit)[1]\n"
        "resource.setrlimit(limit, (hard, hard))\n"
        "from shared.media.ffmpeg.sandbox import Sandbox\n"
        "Sandbox().start(['/bin/true']).wait()\n"
        "print(*resource.getrlimit(limit), hard)"
    )
    printed = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)

    soft, kept, hard = map(int, printed.stdout.split())
    assert soft <= 1024
    assert kept == hard

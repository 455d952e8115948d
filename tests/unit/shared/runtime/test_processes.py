import os
import subprocess
import sys

from shared.runtime import processes

_PRINT_OWNER = "from shared.runtime.processes import new_owner; print(new_owner(), flush=True); "


def test_owners_are_unique_and_this_process_lives() -> None:
    one, other = processes.new_owner(), processes.new_owner()

    assert one != other
    assert processes.is_alive(one)


def test_a_process_that_ended_does_not_live() -> None:
    program = _PRINT_OWNER + "import sys; sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    owner = process.stdout.readline().strip()
    assert processes.is_alive(owner) is True

    process.communicate()

    assert processes.is_alive(owner) is False


def test_a_process_id_that_is_used_again_is_another_process() -> None:
    owner = processes.new_owner()
    machine = owner.partition("@")[2].partition(":")[0]

    assert processes.is_alive(f"x@{machine}:{os.getpid()}:1") is False


def test_processes_of_other_machines_are_unknown() -> None:
    for owner in (None, "", "0123abcd", "x@another:1:2", "x@"):
        assert processes.is_alive(owner) is None

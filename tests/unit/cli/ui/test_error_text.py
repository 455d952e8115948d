import errno

import pytest

from cli import exits
from cli.ui.error_text import advice, exit_status, sentence
from shared.core.errors import ConfigurationError, TransientError


@pytest.mark.parametrize(
    ("error", "said", "status"),
    [
        (ConfigurationError(["A is wrong", "B is wrong"]), "A is wrong\nB is wrong", exits.USAGE),
        (TransientError("the disk is full"), "the disk is full", exits.FAILED),
        (
            PermissionError(errno.EACCES, "Permission denied", "/x/\n.mp4"),
            "Permission denied: /x/\\n.mp4",
            exits.FAILED,
        ),
        (KeyError("x"), "KeyError: 'x'", exits.FAILED),
        (KeyboardInterrupt(), "KeyboardInterrupt: KeyboardInterrupt", exits.INTERRUPTED),
    ],
)
def test_an_error_is_a_sentence_and_a_status(error: BaseException, said: str, status: int) -> None:
    assert sentence(error) == said
    assert exit_status(error) == status


def test_a_cloud_address_without_its_libraries_says_what_to_install() -> None:
    error = ModuleNotFoundError("No module named 'google.cloud'", name="google.cloud")

    assert "pip install" in sentence(error)
    assert exit_status(error) == exits.USAGE


def test_only_our_own_faults_are_called_that() -> None:
    assert "fault of the program" in advice(KeyError("x"))
    assert "doctor" in advice(ConfigurationError(["x"]))
    assert advice(OSError(errno.EIO, "x")) == advice(TransientError("x")) == ""

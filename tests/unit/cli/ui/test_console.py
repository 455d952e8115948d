import io

import pytest

from cli.ui.console import Screen
from cli.ui.progress import Bar, bar


@pytest.mark.parametrize("width", ["", "80"])
def test_a_pipe_gets_the_same_text_from_rich_and_without_it(
    width: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", width)  # rich prints where it is set

    screen = Screen()
    screen.line(("✗ ", "bold red"), ("two [brackets]", "bold"))
    screen.line("to standard error", error=True)
    screen.sentence("one\n", ("two", "dim"))

    printed = capsys.readouterr()
    # rich fills every line up to the longest.
    assert [line.rstrip() for line in printed.out.split("\n")] == [
        "✗ two [brackets]", "  one", "  two", "",
    ]  # fmt: skip
    assert printed.err == "to standard error\n"


def test_a_pipe_that_cannot_encode_a_name_gets_its_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    pipe = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(pipe, encoding="ascii"))

    screen = Screen()
    screen.line(screen.marks.done, " café")

    assert pipe.getvalue() == b"ok caf\\xe9\n"


def test_no_bar_is_drawn_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)

    with bar("meeting.mp4", 100) as drawn:
        drawn.update(0.5)
        drawn.waiting("another process is working on this")

    assert type(drawn) is Bar
    assert capsys.readouterr() == ("", "")

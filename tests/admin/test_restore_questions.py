"""What scripts/restore asks at a terminal, and what becomes of each answer."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from .test_backup_scripts import Server, backup, data_of, plant
from .volumes import tree

pytestmark = [pytest.mark.process, pytest.mark.long]
__all__ = ["backup", "plant"]  # fixtures

SETTINGS = "On which is it to run? Type saved (the backup's; what is here is kept under another name) or here: "
CONFIRM = "Type yes to go on: "
END_OF_INPUT = "\x04"


def at_terminal(server: Server, *arguments: str, answers: Sequence[tuple[str, str]], status: int) -> str:
    """Run scripts/restore as a person does, who answers each question once it is asked. Returns what stood on the screen."""
    terminal, its = pty.openpty()
    command = [str(server.folder / "scripts" / "restore"), *arguments]
    with subprocess.Popen(command, env=server.environment, stdin=its, stdout=its, stderr=its, start_new_session=True) as running:
        os.close(its)
        screen = ""
        for question, answer in answers:
            screen += _read(terminal, until=question)
            os.write(terminal, answer.encode())
        screen += _read(terminal)
        assert running.wait(60) == status, screen
    os.close(terminal)
    return screen.replace("\r\n", "\n")


def _read(terminal: int, until: str | None = None) -> str:
    """What appears, up to a question, or to the end of the program."""
    screen, deadline_s = b"", time.monotonic() + 120
    while until is None or until.encode() not in screen:
        assert select.select([terminal], [], [], max(0.0, deadline_s - time.monotonic()))[0], f"no {until!r} after {screen!r}"
        try:
            more = os.read(terminal, 4096)
        except OSError:  # nobody has it open any more
            more = b""
        if not more:
            assert until is None, f"it ended without asking {until!r}: {screen.decode()}"
            break
        screen += more
    return screen.decode()


@pytest.fixture
def other(tmp_path: Path) -> Server:
    """A server with settings and a plant model that are not the backup's."""
    server = Server(tmp_path / "new", "new")
    server.write(".env", "MILLRACE_CONFIG=./plant\nMILLRACE_SIMULATOR=1\n")
    server.write("plant/plant.yaml", "root: here\n")
    return server


def settings_of(server: Server) -> tuple[str, str]:
    return server.read(".env"), server.read("plant/plant.yaml")


def unchanged(server: Server, before: dict[str, bytes]) -> bool:
    """But for what the stand-in for Docker notes."""
    return {path: text for path, text in tree(server.folder).items() if path != "config-of-up"} == before


def test_here_brings_the_data_back_below_the_settings_that_are_here(plant: Server, backup: str, other: Server) -> None:
    before = settings_of(other)
    screen = at_terminal(other, backup, answers=[(SETTINGS, "here\n"), (CONFIRM, "yes\n")], status=0)
    assert "MILLRACE_SIMULATOR: '1' here, '0' in the backup" in screen
    assert data_of(other) == data_of(plant)
    assert settings_of(other) == before
    assert not list(other.folder.glob("*.before-restore-*"))


def test_saved_brings_the_backups_settings_back_and_keeps_those_that_were_here(plant: Server, backup: str, other: Server) -> None:
    at_terminal(other, backup, answers=[(SETTINGS, "saved\n"), (CONFIRM, "yes\n")], status=0)
    assert data_of(other) == data_of(plant)
    assert settings_of(other) == settings_of(plant)
    assert {path.name.split(".before")[0] for path in other.folder.glob("*.before-restore-*")} == {".env", "plant"}


def test_who_said_before_which_settings_count_is_asked_only_whether_to_go_on(plant: Server, backup: str, other: Server) -> None:
    before = settings_of(other)
    screen = at_terminal(other, backup, "--settings", "here", answers=[(CONFIRM, "yes\n")], status=0)
    assert SETTINGS not in screen
    assert (data_of(other), settings_of(other)) == (data_of(plant), before)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([(SETTINGS, "both\n")], "neither saved nor here; nothing was changed"),
        ([(SETTINGS, END_OF_INPUT)], "nothing was typed; nothing was changed"),
        ([(SETTINGS, "here\n"), (CONFIRM, "y\n")], "it was not confirmed; nothing was changed"),
        ([(SETTINGS, "here\n"), (CONFIRM, END_OF_INPUT)], "nothing was typed; nothing was changed"),
    ],
)
def test_any_other_answer_changes_nothing_and_says_so(
    backup: str, other: Server, answers: Sequence[tuple[str, str]], said: str
) -> None:
    before = tree(other.folder)
    assert said in at_terminal(other, backup, answers=answers, status=2)
    assert unchanged(other, before)


def test_settings_here_without_a_terminal_leaves_what_is_here(plant: Server, backup: str, other: Server) -> None:
    before = settings_of(other)
    other.run("restore", backup, "--yes", "--settings", "here")
    assert (data_of(other), settings_of(other)) == (data_of(plant), before)

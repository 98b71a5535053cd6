"""Child processes of the demo: started, watched, started again when they die, stopped in reverse order."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .layout import CannotRun, Program

STOP_LIMIT_S = 20.0
RESTART_PAUSE_S = 2.0


@dataclass
class Child:
    """A running program and how often it had to be started again."""

    program: Program
    process: subprocess.Popen[bytes]
    restarts: int = 0
    due_s: float | None = field(default=None)
    seen: list[bytes] = field(default_factory=list)

    def reread(self) -> None:
        """Tell the program when its files are others than at the last look."""
        before, self.seen = self.seen, [path.read_bytes() for path in self.program.rereads]
        if self.seen != before:
            self.process.send_signal(signal.SIGHUP)

    @property
    def state(self) -> str:
        return "running" if self.process.poll() is None else f"ended with {self.process.returncode}, starting again"


class Processes:
    """All children. Not a supervisor for a plant: that is Docker's or systemd's work.

    A file `NAME.pid` in `logs` says which process is which, for who wants to look at one or to kill it.
    """

    def __init__(self, logs: Path, environ: Mapping[str, str]) -> None:
        self._logs = logs
        self._environ = environ
        self.also: dict[str, Mapping[str, str]] = {}
        """More of the environment, by name of the program."""
        self.children: dict[str, Child] = {}
        self._once: list[subprocess.Popen[bytes]] = []

    def start(self, program: Program) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        seen = [path.read_bytes() for path in program.rereads]
        self.children[program.name] = Child(program, self._spawn(program), seen=seen)

    def run_once(self, program: Program) -> subprocess.Popen[bytes]:
        """Start a program that ends by itself; it is not started again."""
        self._logs.mkdir(parents=True, exist_ok=True)
        process = self._spawn(program)
        self._once.append(process)
        return process

    def begin_anew(self, program: Program) -> None:
        """Start it, or if it runs let it end in good order, after which `watch` starts it with its new environment."""
        child = self.children.get(program.name)
        if child is None:
            self.start(program)
            return
        child.program = program
        child.process.terminate()
        child.due_s = time.monotonic()

    def states(self) -> dict[str, str]:
        return {name: child.state for name, child in self.children.items()}

    def run_to_end_of_patience(self, name: str, seconds: float) -> None:
        """Give a server a moment; raise CannotRun with the end of its log when it dies in it."""
        child = self.children[name]
        try:
            child.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise CannotRun(f"{name} ended at once:\n{self.log_tail(name)}")

    def log_tail(self, name: str, lines: int = 8) -> str:
        text = (self._logs / f"{name}.log").read_text(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def watch(self) -> None:
        """Start again what died, after a pause, and let the others read changed files. Called about once a second."""
        for child in self.children.values():
            if child.process.poll() is None:
                child.reread()
                continue
            if child.due_s is None:
                child.due_s = time.monotonic() + RESTART_PAUSE_S
            elif time.monotonic() >= child.due_s:
                child.process = self._spawn(child.program)
                child.restarts += 1
                child.due_s = None

    def kill(self, name: str, down_s: float = RESTART_PAUSE_S) -> None:
        """kill -9 of it and what it started; `watch` starts it again after `down_s`."""
        child = self.children[name]
        signal_all(child.process.pid, signal.SIGKILL)
        child.due_s = time.monotonic() + down_s

    def stop(self) -> list[str]:
        """Stop all, last started first, each within a time limit. Returns the names of those that had to be killed."""
        killed = []
        for process in self._once:
            end(process)  # nothing of it is lost: a past can be sent again, a database be got again
        for name, child in reversed(self.children.items()):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGINT if name == "influxd" else signal.SIGTERM)
                try:
                    child.process.wait(STOP_LIMIT_S)
                except subprocess.TimeoutExpired:
                    signal_all(child.process.pid, signal.SIGKILL)
                    child.process.wait()
                    killed.append(name)
        self.children.clear()
        return killed

    def kill_all(self) -> None:
        """kill -9 of everything, for who does not want to wait."""
        for process in (*self._once, *(child.process for child in self.children.values())):
            signal_all(process.pid, signal.SIGKILL)

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        # A session of its own keeps Ctrl-C to us: the children are stopped in order instead of all at once.
        with (self._logs / f"{program.name}.log").open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - programs of our own
                program.command,
                env={**self._environ, **program.environment, **self.also.get(program.name, {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (self._logs / f"{program.name}.pid").write_text(f"{process.pid}\n")
        return process


def signal_all(pid: int, number: signal.Signals) -> None:
    """To a child and all that it started: the database has a start script before it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a program that ends by itself before it does; kill it when it does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

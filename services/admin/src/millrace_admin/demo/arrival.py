"""The database comes last. The platform runs from the first second and its readings wait in the outboxes; once there is an influxd,
got by us or put there by somebody, it is started, and they are stored before the reader's eyes."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from millrace_contract.errors import Refusal, Unavailable

from ..bootstrap import DATABASE_TOKEN
from ..database_setup import answers, set_up_database
from ..secret_files import SecretFiles
from ..servers.influxd import flaw_of
from ..servers.places import find_influxd
from ..settings import AdminSettings
from .backlog import Backlog, Stage, in_words, take_backlog
from .layout import Places, Ports, Program, database_getter, database_program, history_program, service_programs
from .processes import Processes, end

ORGANISATION = "millrace"
PAST_SENT = "past-sent"
"""A file in the demo's state: the database has the past that was sent to it at the first start."""

LIVE_LOOKS = 5
"""So many looks in succession must find nothing waiting: what is stored late makes results, which are then stored, too."""


class DatabaseArrival:
    """Call `look` about once a second; `line` says where the database is. Nothing here waits for anything."""

    def __init__(self, places: Places, ports: Ports, processes: Processes, environ: Mapping[str, str], *, days: float) -> None:
        self._places = places
        self._ports = ports
        self._processes = processes
        self._environ = environ
        self._days = days
        self._stage = Stage.MISSING
        self._detail = ""
        self._backlog = Backlog()
        self._getter: subprocess.Popen[bytes] | None = None
        self._past: subprocess.Popen[bytes] | None = None
        self._live_looks = 0
        self._seen: tuple[str, int, int] | None = None
        """The influxd of the last look: path, size and time, to see whether it is still being copied."""

    @property
    def line(self) -> str:
        return in_words(self._stage, self._detail, self._backlog)

    @property
    def stage(self) -> Stage:
        return self._stage

    def begin(self, influxd: str | None) -> None:
        """Without an influxd it is got; with one the platform has it already."""
        if influxd is None:
            (self._places.logs / "get-influxd.log").unlink(missing_ok=True)  # its last line is shown, and was an earlier run's
            self._getter = self._processes.run_once(database_getter(self._places))
            self._stage, self._detail = Stage.ON_ITS_WAY, "looking for a way to get it"
        else:
            self._catch_up()

    def look(self) -> None:
        self._backlog = take_backlog(self._ports)
        if self._stage in (Stage.ON_ITS_WAY, Stage.MISSING):
            self._look_for_influxd()
        elif self._stage is Stage.STARTING:
            self._look_whether_it_answers()
        else:
            self._look_how_far_it_is()

    def _look_for_influxd(self) -> None:
        influxd = find_influxd(self._environ)
        if influxd is not None and self._is_whole(influxd):
            if flaw := flaw_of(influxd):
                self._detail = flaw
                return
            if self._getter is not None:
                end(self._getter)
            for folder in (self._places.data("influxdb"), self._places.requests):
                folder.mkdir(parents=True, exist_ok=True)
            self._processes.start(database_program(influxd, self._places, self._ports))
            self._stage, self._detail = Stage.STARTING, ""
        elif self._getter is not None:
            self._detail = self._processes.log_tail("get-influxd", 1).removeprefix("influxd: ") or self._detail
            if self._getter.poll() is not None:
                self._stage, self._getter = Stage.MISSING, None

    def _is_whole(self, influxd: str) -> bool:
        """Nobody has written to it since the last look. What is not there counts as whole: trying it says why it can't be used."""
        try:
            facts = Path(influxd).stat()
        except OSError:
            return True
        before, self._seen = self._seen, (influxd, facts.st_size, facts.st_mtime_ns)
        return self._seen == before

    def _look_whether_it_answers(self) -> None:
        url = f"http://127.0.0.1:{self._ports.influxd}"
        child = self._processes.children["influxd"]
        if child.process.poll() is not None:
            self._detail = f"it ended: {self._processes.log_tail('influxd', 1)}"
        elif answers(url):
            before = {program.name: self._token(program.name) for program in self._programs()}
            try:
                set_up_database(SecretFiles(self._places.secrets, give_away=False), url, ORGANISATION, AdminSettings().retention)
            except (Unavailable, Refusal) as failed:
                self._detail = str(failed)
                return
            for program in self._programs():
                is_new = program.name not in self._processes.children
                reads = "MILLRACE_INFLUX_TOKEN_FILE" in program.environment and program.name != "simulator"
                if is_new or (reads and self._token(program.name) != before[program.name]):
                    Path(program.environment["MILLRACE_DATA"]).mkdir(parents=True, exist_ok=True)
                    self._processes.begin_anew(program)
            self._catch_up()

    def _catch_up(self) -> None:
        self._stage, self._detail = Stage.CATCHING_UP, ""
        if self._days and not (self._places.state / PAST_SENT).exists():
            self._past = self._processes.run_once(history_program(self._places, self._ports, self._days))

    def _look_how_far_it_is(self) -> None:
        if self._past is not None and (status := self._past.poll()) is not None:
            if status == 0:
                (self._places.state / PAST_SENT).touch()
            self._past = None
        self._detail = "the past is being sent, too" if self._past is not None else ""
        self._live_looks = self._live_looks + 1 if self._backlog.is_live and self._past is None else 0
        self._stage = Stage.STORED if self._live_looks >= LIVE_LOOKS else Stage.CATCHING_UP

    def _programs(self) -> list[Program]:
        return service_programs(self._places, self._ports, with_database=True)

    def _token(self, name: str) -> str | None:
        try:
            return (self._places.secrets / name / DATABASE_TOKEN).read_text()
        except FileNotFoundError:
            return None

"""The plant model of the running service: read anew when its files change; a broken edit leaves the last good one in force."""

from __future__ import annotations

import contextlib
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant import load_plant
from millrace_contract.plant.accepted import Accepted, load_accepted
from millrace_contract.plant.model import PlantModel
from millrace_contract.runtime.logs import get_logger

from .decoder import SIGNALS_MAX, Decoder
from .signal_limit import SignalLimit

_log = get_logger(__name__)


class PlantWatch:
    """`decoder` may be read from any thread; `look` belongs to one."""

    def __init__(self, config_dir: Path, data_dir: Path, signals_max: int = SIGNALS_MAX) -> None:
        """Raises ConfigurationProblems when the files are wrong and never were right, or the data folder can't be written."""
        self._config_dir = config_dir
        self._data_dir = data_dir
        self._signals = SignalLimit(signals_max)
        self._seen = self._stamp()
        try:
            self._accepted: Accepted[PlantModel] = load_accepted(config_dir, data_dir, load_plant)
        except OSError as error:
            raise ConfigurationProblems([Problem("environment", 0, "MILLRACE_DATA", f"cannot be written: {error}")]) from error
        self._root_problem: str | None = None
        self.decoder = Decoder(self._accepted.model, self._signals)
        if self._accepted.problems:
            _log.error("configuration_refused", problems=[str(problem) for problem in self._accepted.problems])

    @property
    def plant(self) -> PlantModel:
        return self._accepted.model

    @property
    def configuration(self) -> str:
        return "last_accepted" if self.problems else "current"

    @property
    def problems(self) -> list[str]:
        found = [str(problem) for problem in self._accepted.problems]
        return [*found, self._root_problem] if self._root_problem else found

    def look(self) -> bool:
        """Takes over changed files. True when something changed, for better or worse."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            accepted = load_accepted(self._config_dir, self._data_dir, load_plant)
        except ConfigurationProblems as refused:
            self._accepted = Accepted(self.plant, refused.problems)
            _log.error("configuration_refused", problems=[str(problem) for problem in refused.problems])
            return True
        except OSError as error:
            # The copy for later could not be made; without it a next start might not know what ran here.
            self._accepted = Accepted(self.plant, [Problem("environment", 0, "MILLRACE_DATA", f"cannot be written: {error}")])
            _log.error("configuration_not_copied", problem=str(error))
            return True
        if accepted.model.root != self.plant.root:
            self._root_problem = f"plant.yaml: root: is now {accepted.model.root}; restart ingest to follow it"
            _log.error("configuration_refused", problems=[self._root_problem])
            return True
        self._root_problem = None
        self._accepted = accepted
        self.decoder = Decoder(accepted.model, self._signals)
        if accepted.problems:
            _log.error("configuration_refused", problems=[str(problem) for problem in accepted.problems])
        else:
            _log.info("configuration_taken_over", devices=len(accepted.model.devices))
        return True

    def _stamp(self) -> tuple[tuple[str, int, int], ...]:
        found = []
        for path in [self._config_dir / "plant.yaml", *sorted((self._config_dir / "profiles").glob("*.yaml"))]:
            with contextlib.suppress(OSError):  # an editor that replaces a file takes it away for a moment
                stat = path.stat()
                found.append((path.name, stat.st_mtime_ns, stat.st_size))
        return tuple(found)

"""The plant model of the running service: read anew when its files change; a broken edit leaves the last good one in force."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.language.messages import PlantInUse
from millrace_contract.plant import load_plant
from millrace_contract.plant.accepted import AcceptedConfiguration, stamp_of_plant
from millrace_contract.plant.known_devices import KnownDevices
from millrace_contract.plant.model import PlantModel
from millrace_contract.plant.versions import PLANT, plant_in_use
from millrace_contract.runtime.logs import get_logger
from millrace_contract.runtime.remembered_devices import remember_devices
from millrace_contract.runtime.serving import accept

from .decoder import SIGNALS_MAX, Decoder
from .signal_limit import SignalLimit

_log = get_logger(__name__)


class PlantWatch:
    """`decoder` may be read from any thread; `look` belongs to one."""

    def __init__(self, config_dir: Path, data_dir: Path, signals_max: int = SIGNALS_MAX) -> None:
        """Raises ConfigurationProblems when the files are wrong and never were right."""
        self._config_dir = config_dir
        self._data_dir = data_dir
        self._signals = SignalLimit(signals_max)
        self._seen = stamp_of_plant(self._config_dir)
        self._accepted: AcceptedConfiguration[PlantModel] = accept(config_dir, data_dir, load_plant)
        self._root_problem: str | None = None
        self._known: KnownDevices | None = None
        self.decoder = self._make_decoder()

    @property
    def plant(self) -> PlantModel:
        return self._accepted.model

    @property
    def configuration(self) -> str:
        return "last_accepted" if self.problems else "current"

    @property
    def in_use(self) -> PlantInUse:
        """As `status` says it."""
        plant = self.plant
        return plant_in_use(plant.version, len(plant.devices), self._accepted.accepted_ms, {PLANT: plant.version})

    @property
    def problems(self) -> list[str]:
        found = [str(problem) for problem in self._accepted.problems]
        return [*found, self._root_problem] if self._root_problem else found

    def look(self) -> bool:
        """Takes over changed files. True when something changed, for better or worse."""
        stamp = stamp_of_plant(self._config_dir)
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            accepted = accept(self._config_dir, self._data_dir, load_plant)
        except ConfigurationProblems as refused:
            self._accepted = replace(self._accepted, problems=refused.problems)
            _log.error("configuration_refused", problems=[str(problem) for problem in refused.problems])
            return True
        if accepted.model.root != self.plant.root:
            self._root_problem = f"plant.yaml: root: is now {accepted.model.root}; restart ingest to follow it"
            _log.error("configuration_refused", problems=[self._root_problem])
            return True
        self._root_problem = None
        self._accepted = accepted
        self.decoder = self._make_decoder()
        if not accepted.problems:
            _log.info("configuration_taken_over", devices=len(accepted.model.devices))
        return True

    def _make_decoder(self) -> Decoder:
        self._known = remember_devices(self._data_dir, self.plant, self._known)
        return Decoder(self.plant, self._signals, self._known)

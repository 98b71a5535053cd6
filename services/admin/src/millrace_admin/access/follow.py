"""`millrace access follow`: the access rules follow the accepted plant model while everything runs (decision 0016).

It has the broker's folder of secrets and the plant's files, no network and no privilege. Whoever else writes there,
`bootstrap` and `access`, is followed too: what lies there is always what plant model and accounts ask for, within seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.plant.accepted import Stamp, stamp_of, stamp_of_plant
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.health import HealthServer, Heartbeats, Watchdog

from ..bootstrap import RIGHTS_FILE, RULES_FILE, SPEAKERS_FILE, Speakers, add_rights, load_rights
from ..broker_accounts import render_access_rules
from ..secret_files import SecretFiles

LOOK_INTERVAL_S = 1.0


class OtherRoot(Exception):
    """The plant model has another root than the one for which everything was started."""


class PlantFollower:
    """`look` as often as you like: where no file has changed it costs nothing."""

    def __init__(self, files: SecretFiles, config: Path) -> None:
        self._files = files
        self._config = config
        self._plant: PlantModel | None = None
        self._seen_plant: Stamp = ()
        self._seen_files: Stamp = ()

    def look(self) -> str | None:
        """What was done, or why nothing could be, in words; None where nothing is new. Raises OSError."""
        said = self._read()
        if self._plant is None:
            return said
        if self._stamp_of_files() == self._seen_files:
            return said
        try:
            is_changed = follow_plant(self._files, self._plant)
        except OtherRoot as refused:
            self._plant = None
            return str(refused)
        self._seen_files = self._stamp_of_files()
        return f"access rules follow the plant model: {len(self._plant.devices)} devices" if is_changed else said

    def _read(self) -> str | None:
        """The plant model, where its files are new."""
        stamp = stamp_of_plant(self._config)
        if stamp == self._seen_plant:
            return None
        self._seen_plant = stamp
        try:
            self._plant = load_plant(self._config)
        except ConfigurationProblems as refused:
            # What was accepted stays in force, as everywhere (contracts.md 3).
            return f"the plant model has {len(refused.problems)} problem(s), so the access rules stay: {refused.problems[0]}"
        self._seen_files = ()
        return None

    def _stamp_of_files(self) -> Stamp:
        return stamp_of(self._files.path("mosquitto", name) for name in (SPEAKERS_FILE, RIGHTS_FILE, RULES_FILE))


def follow_plant(files: SecretFiles, plant: PlantModel) -> bool:
    """Render the access rules as this plant model asks; whether that changed them. Needs the broker's folder alone.

    Raises OtherRoot: what the outboxes hold goes out below the old root, so only a start of everything changes it.
    """
    with files.locked("mosquitto"):
        text = files.read("mosquitto", SPEAKERS_FILE)
        if text is None:
            return False
        speakers = msgspec.json.decode(text, type=Speakers)
        if plant.root != speakers.root:
            raise OtherRoot(f"plant.yaml: root: is now {plant.root}; `docker compose up -d` follows it")
        add_rights(files, plant)
        return files.write("mosquitto", RULES_FILE, render_access_rules(speakers.root, speakers.accounts, load_rights(files)))


def follow(
    follower: PlantFollower, clock: Clock, stop: threading.Event, say: Callable[[str], None], *, host: str, port: int
) -> None:
    """Look until `stop` is set, watched like a service: /health/live says when it can't write. Raises CannotStart."""
    heartbeats = Heartbeats(clock)
    rendering = heartbeats.step("render")
    health, watchdog = HealthServer(host, port, heartbeats, dict), Watchdog(heartbeats)
    health.start()
    watchdog.start()
    try:
        while True:
            heartbeats.beat("follow")
            try:
                said = follower.look()
            except OSError as error:  # a full disk: tried again, and said by the health check
                rendering.failed(str(error))
            else:
                rendering.done()
                if said is not None:
                    say(said)
            if stop.wait(LOOK_INTERVAL_S):
                return
    finally:
        watchdog.stop()
        health.stop()

"""A real database is put back to an older copy, or lost: the outbox fills it again, and what it does not keep is in the ledger."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from millrace_contract.runtime.influx import Influx
from millrace_contract.store_forward.limits import Limits
from millrace_contract.testing import Influxd, Mosquitto, wait_until

from .conftest import Gateway, Ingest

pytestmark = [pytest.mark.broker, pytest.mark.influx]

DEVICES = 20


class Plant:
    """A sender, ingest and a database whose folder is copied, put back and lost."""

    def __init__(self, folder: Path, ingest: Ingest, influxd: Influxd, broker: Mosquitto) -> None:
        self.folder = folder
        self.ingest = ingest
        self.influxd = influxd
        self.broker = broker
        self.gateway = Gateway(folder / "gateway", broker)
        self.gateway.start()
        ingest.start()

    def exchange(self, condition: object, what: str) -> None:
        """Statuses go to ingest until the condition holds."""

        def holds() -> bool:
            self.gateway.say_status()
            return bool(condition() if callable(condition) else condition)

        wait_until(holds, what, 120)

    def send(self, count: int) -> None:
        self.gateway.send(count, DEVICES)
        self.exchange(self.is_marked, "what was sent marked in the database")

    def is_marked(self) -> bool:
        """The database says that it holds everything."""
        sent = self.gateway.outbox.stats().sent
        return self.gateway.is_drained and sent is not None and sent.held == sent.upto

    def put_back(self, copy: Path | None) -> None:
        self.influxd.stop()
        shutil.rmtree(self.influxd.folder)
        if copy is None:
            self.influxd.folder.mkdir()
        else:
            shutil.copytree(copy, self.influxd.folder)
        self.influxd.start()

    def copy(self) -> Path:
        self.influxd.stop()
        target = shutil.copytree(self.influxd.folder, self.folder / "copy")
        self.influxd.start()
        return target

    def restart_gateway(self, limits: Limits | None = None) -> None:
        sent = self.gateway.sent
        self.gateway.stop()
        self.gateway = Gateway(self.folder / "gateway", self.broker, limits=limits)
        self.gateway.start()
        self.gateway.sent = {device: [] for device in sent}

    def stored(self) -> list[tuple[str, float]]:
        return sorted((device, value) for device, values in self.ingest.stored().items() for value in values)

    def ledger(self) -> list[tuple[str, list[list[int]], float]]:
        query = 'SELECT "cause", "lost_seqs_text", "count" FROM "ledger"'
        with Influx(self.influxd.settings()) as influx:
            return [(row[1], json.loads(row[2]), row[3]) for series in influx.query("production", query) for row in series.rows]


def everything(count: int) -> list[tuple[str, float]]:
    return sorted((f"D-{number % DEVICES}", float(number // DEVICES)) for number in range(count))


def test_it_is_filled_again_and_the_rest_is_told(tmp_path: Path, ingest: Ingest, influxd: Influxd, broker: Mosquitto) -> None:
    plant = Plant(tmp_path, ingest, influxd, broker)
    plant.send(200)
    copy = plant.copy()
    plant.send(300)
    assert plant.stored() == everything(500)

    plant.put_back(copy)
    plant.exchange(lambda: plant.is_marked() and len(plant.stored()) == 500, "the copy filled again")
    assert plant.stored() == everything(500)

    plant.put_back(None)
    plant.exchange(lambda: plant.is_marked() and len(plant.stored()) == 500, "an empty database filled again")
    assert plant.stored() == everything(500)
    assert plant.ledger() == []
    assert ingest.logged("store_is_not_as_it_was")

    kept_bytes = plant.gateway.outbox.stats().kept_bytes
    plant.restart_gateway(Limits(max_bytes=kept_bytes // 2))
    plant.exchange(lambda: 0 < plant.gateway.outbox.stats().kept < 300, "half of it not kept any more")
    plant.restart_gateway()
    plant.exchange(plant.is_marked, "the gateway")
    kept = plant.gateway.outbox.stats().kept
    plant.put_back(copy)
    plant.exchange(lambda: plant.is_marked() and plant.ledger() and len(plant.stored()) >= 200 + kept, "the ledger's entry")
    assert plant.ledger() == [("restored", [[201, 500 - kept]], 300.0 - kept)]
    assert len(plant.stored()) == 200 + kept
    plant.gateway.stop()

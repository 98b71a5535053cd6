"""A backup that scripts/backup made before archives had a manifest, byte by byte, comes back and can be used.

It was made by the script of that version: secrets of its `bootstrap` (keys and passwords are written over), stores of its services
as a kill left them, and the files of an InfluxDB with twenty points. It is compressed once more: such files are mostly empty.
"""

from __future__ import annotations

import lzma
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from millrace_admin.backup.layout import OLD_ORDER
from millrace_alerts.store import ALERTS_STORE
from millrace_contract.runtime.influx import Influx
from millrace_contract.store_forward.outbox_file import OUTBOX_STORE
from millrace_contract.store_forward.restored import read_restored
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.testing import Influxd
from millrace_oee.store import OEE_STORE

from .test_backup_scripts import Server

pytestmark = [pytest.mark.process, pytest.mark.long]

STORES = {"gateway-data/outbox.sqlite": OUTBOX_STORE, "oee-data/oee.db": OEE_STORE, "alerts-data/alerts.db": ALERTS_STORE}
NOW_MS = 1_770_000_000_000


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    packed = Path(__file__).parent / "fixtures" / "before-manifests.tar.gz.xz"
    path = tmp_path_factory.mktemp("old") / "millrace-old.tar.gz"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


@pytest.fixture(scope="module")
def restored(old: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    server = Server(tmp_path_factory.mktemp("server") / "new", "new", OLD_ORDER)
    server.run("restore", str(old), "--yes", "--settings", "saved")
    return server


def test_it_is_told_what_an_old_backup_would_change(old: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "new", "new", OLD_ORDER)
    said = server.run("restore", str(old), "--check")
    assert "in 18 volumes" in said
    assert "profiles/press.yaml: only in the backup" in said


def test_each_volume_comes_back_with_a_note_and_the_plant_model_that_ran(restored: Server) -> None:
    volumes = restored.folder / "volumes"
    assert (volumes / "admin-secrets" / "root").read_text().strip() == "real"
    assert restored.read("config/plant.yaml").startswith("root: real\n")
    assert {name for name in OLD_ORDER if read_restored(volumes / name)} == {name for name in OLD_ORDER if name.endswith("-data")}
    assert not [path for path in volumes.rglob("*") if path.name == "inner"], "nothing of what was there is left"


@pytest.mark.parametrize("path", STORES)
def test_its_stores_are_brought_to_this_version(restored: Server, path: str, tmp_path: Path) -> None:
    folder = shutil.copytree((restored.folder / "volumes" / path).parent, tmp_path / "data")
    with closing(open_store(STORES[path], folder / Path(path).name, NOW_MS)) as store:
        assert store.set_aside is None
    assert list(folder.glob("*.copy-of-version-*")), "it was of a version before"


@pytest.mark.influx
def test_its_database_starts_and_has_what_it_had(restored: Server) -> None:
    if Influxd.binary() is None:
        pytest.fail("influxd is not on this machine") if os.environ.get("CI") == "true" else pytest.skip("no influxd")
    server = Influxd(restored.folder / "volumes" / "influxdb-data")
    server.start()
    try:
        with Influx(server.settings()) as influx:
            [series] = influx.query("telemetry", "SELECT force FROM press WHERE device = 'CNC-01'")
    finally:
        server.stop()
    assert [row[1] for row in series.rows] == [float(number) for number in range(20)]

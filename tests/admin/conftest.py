"""A folder of secrets as bootstrap makes it from the sample plant."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from millrace_admin.bootstrap import bootstrap
from millrace_admin.secret_files import SecretFiles
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.testing import Mosquitto

from .running_broker import RunningBroker

REPOSITORY = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def sample_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped plant with the profiles that it uses and one of a sensor."""
    folder, sample = tmp_path_factory.mktemp("sample"), REPOSITORY / "config"
    (folder / "profiles").mkdir()
    for path in [*sample.glob("*.yaml"), *sample.glob("profiles/demo-*.yaml"), sample / "profiles/tasmota-plug.yaml"]:
        shutil.copy(path, folder / path.relative_to(sample))
    return folder


@pytest.fixture
def write_plant(tmp_path: Path) -> Callable[..., PlantModel]:
    """Writes `config` in the test's folder: line -> device -> gateway."""

    def write(lines: dict[str, dict[str, str]], root: str = "factory") -> PlantModel:
        folder = tmp_path / "config"
        (folder / "profiles").mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / "config/profiles/demo-cnc.yaml", folder / "profiles")
        where = {"profile": "demo-cnc", "connection": {"host": "127.0.0.1"}}
        devices = {
            line: {"devices": {name: {**where, "gateway": gateway} for name, gateway in each.items()}}
            for line, each in lines.items()
        }
        (folder / "plant.yaml").write_text(yaml.safe_dump({"root": root, "time_zone": "UTC", "lines": devices}))
        return load_plant(folder)

    return write


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    """The folder, still empty."""
    return SecretFiles(tmp_path / "secrets", give_away=False)


@pytest.fixture(scope="session")
def first_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: many passwords are hashed slowly, on purpose."""
    folder = tmp_path_factory.mktemp("bootstrapped") / "secrets"
    bootstrap(SecretFiles(folder, give_away=False), REPOSITORY / "config", "localhost", datetime.now(UTC))
    return folder


@pytest.fixture
def ready_files(files: SecretFiles, first_folder: Path) -> SecretFiles:
    """The folder after the first `bootstrap`, with certificates that are good today."""
    shutil.copytree(first_folder, files.root)
    return files


@pytest.fixture
def broker(ready_files: SecretFiles, tmp_path: Path) -> Iterator[RunningBroker]:
    if Mosquitto.binary() is None:
        pytest.fail("mosquitto is not on this machine") if os.environ.get("CI") == "true" else pytest.skip("no mosquitto")
    running = RunningBroker(ready_files, tmp_path / "broker")
    running.start()
    yield running
    running.stop()

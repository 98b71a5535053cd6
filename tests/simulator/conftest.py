"""What the simulator's tests share: the sample plant on free ports, and a simulator that runs on a thread."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from millrace_contract.plant import Calendar, PlantModel, load_calendar, load_plant
from millrace_simulator.settings import SimulatorSettings
from millrace_simulator.testing import RunningSimulator

SAMPLE = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="session")
def plant() -> PlantModel:
    return load_plant(SAMPLE, {})


@pytest.fixture(scope="session")
def calendar(plant: PlantModel) -> Calendar:
    return load_calendar(SAMPLE, plant)


def quiet_port() -> int:
    """A free port that no outgoing connection of another test is given meanwhile."""
    for port in random.sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port from 20000 to 32000")


def write_config(folder: Path) -> Path:
    """The sample plant with every port replaced by a free one; devices that share a port still do. Only with its own profiles."""
    (folder / "profiles").mkdir(parents=True)
    for path in [*SAMPLE.glob("*.yaml"), *(SAMPLE / "profiles").glob("demo-*.yaml")]:
        (folder / path.relative_to(SAMPLE)).write_text(path.read_text())
    data = yaml.safe_load((SAMPLE / "plant.yaml").read_text())
    ports: dict[int, int] = {}
    for line in data["lines"].values():
        for device in line["devices"].values():
            old = device["connection"]["port"]
            ports.setdefault(old, quiet_port())
            device["connection"] |= {"host": "127.0.0.1", "port": ports[old]}
    (folder / "plant.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path / "config")


@pytest.fixture(scope="module")
def shared_simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSimulator]:
    """One simulator for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("simulator")
    config = write_config(folder / "config")
    simulator = RunningSimulator(SimulatorSettings(config=config, data=folder / "data", http_port=quiet_port()))
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def start_simulator(config: Path, tmp_path: Path) -> Iterator[Callable[[], RunningSimulator]]:
    """Starts simulators on the same plant and data, one after the other; stops them at the end."""
    running: list[RunningSimulator] = []

    def start() -> RunningSimulator:
        settings = SimulatorSettings(config=config, data=tmp_path / "simulator", http_port=quiet_port())
        simulator = RunningSimulator(settings)
        running.append(simulator)
        simulator.start()
        return simulator

    yield start
    for simulator in running:
        simulator.stop()


@pytest.fixture
def simulator(start_simulator: Callable[[], RunningSimulator]) -> RunningSimulator:
    return start_simulator()

"""A chain on a small plant, and a folder that is quick."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_contract.testing import ManualClock

from .chain import Chain
from .edits import PlantFiles
from .machines import Machines

START_MS = 1_760_000_400_000
TOKEN = "reader-token"
MEMORY = Path("/dev/shm")
ROOM_BYTES = 256 << 20
"""Nothing comes to rest on a disk that is nearly full: who else uses the memory may have filled it."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory, where there is such a folder, with room: what a power cut would leave is no matter here."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM_BYTES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


class Plant:
    """The files, the machines, and the chain that runs on them; every step is the test's."""

    def __init__(self, folder: Path, files: PlantFiles, machines: Machines) -> None:
        self.clock = ManualClock(START_MS)
        self.machines, self.files = machines, files
        self.config = folder / "config"
        self.write()
        tokens = folder / "tokens.json"
        token = {"name": "reader", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "scopes": ["read"]}
        tokens.write_text(json.dumps({"tokens": [token]}))
        self.chain = Chain(self.config, folder / "data", machines, self.clock, tokens)

    def write(self) -> None:
        """Save the files, if there is anything new, by the clock of the plant."""
        if self.files.write(self.config):
            now_s = self.clock.now_ms() / 1000
            os.utime(self.config / "plant.yaml", (now_s, now_s))

    def start(self, *names: str) -> None:
        """Start these anew."""
        for name in names:
            if name in self.chain.processes:
                self.chain.end(name)
            self.chain.start(name)

    def ticks(self, count: int, *chains: Chain, seconds: float = 60.0, is_calm: bool = False) -> None:
        for _ in range(count):
            self.clock.advance(seconds)
            self.machines.work(seconds, is_calm=is_calm)
            for chain in chains or (self.chain,):
                chain.tick()

"""scripts/kit over the real command, which a stand-in for Compose runs on a folder of secrets."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from millrace_admin.bootstrap import load_accounts
from millrace_admin.secret_files import SecretFiles

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.process


class Kits:
    """Runs scripts/kit. `cut`: what becomes of what the command prints, as on a full disk."""

    def __init__(self, folder: Path, files: SecretFiles) -> None:
        self.folder, self._files = folder, files
        folder.mkdir()

    def make(self, *arguments: str, cut: str = "cat") -> subprocess.CompletedProcess[str]:
        compose = self.folder.with_name("compose")
        compose.write_text(f"""#!/bin/sh
set -e
while [ "$1" != admin ]; do shift; done
shift
{sys.executable} -m millrace_admin "$@" --secrets {self._files.root} --keep-owner | {cut}
""")
        compose.chmod(0o755)
        environ = os.environ | {"COMPOSE": f"bash -o pipefail {compose}", "MILLRACE_CONFIG": str(REPOSITORY / "config")}
        command = ["bash", "-c", f'umask 022; exec {REPOSITORY}/scripts/kit "$@"', "kit", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=120, check=False)

    @property
    def has_account(self) -> bool:
        return "gateway-edge-2" in load_accounts(self._files)


@pytest.fixture
def kits(tmp_path: Path, ready_files: SecretFiles) -> Kits:
    return Kits(tmp_path / "here", ready_files)


def test_kit_is_readable_by_its_maker_only(kits: Kits) -> None:
    done = kits.make("edge-2", "--host", "localhost")
    assert done.returncode == 0, done.stderr
    made = kits.folder / "edge-2.tar"
    assert made.stat().st_mode & 0o777 == 0o600
    with tarfile.open(made) as tar:
        assert {"edge.env", "ca.crt", "mqtt_password", "config/plant.yaml"} <= set(tar.getnames())
    assert kits.has_account
    again = kits.make("edge-2", "--host", "localhost")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "cut", "said"),
    [
        (["edge-2"], "cat", "this server has no name yet"),
        (["a b", "--host", "localhost"], "cat", "must be 1 to 63 letters"),
        (["edge-2", "--host", "localhost"], "{ head -c 3000; exit 1; }", "broker account (gateway) gateway-edge-2 revoked"),
    ],
)
def test_a_kit_that_fails_leaves_neither_file_nor_account(kits: Kits, arguments: list[str], cut: str, said: str) -> None:
    done = kits.make(*arguments, cut=cut)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert "there is no kit" in done.stderr
    assert not list(kits.folder.iterdir())
    assert not kits.has_account

"""scripts/backup and scripts/restore around the real command, with a stand-in for Docker whose volumes are folders."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from millrace_admin.backup import staging
from millrace_admin.backup.archive import ArchiveReader
from millrace_admin.backup.layout import OLD_ORDER
from millrace_contract.testing import wait_until

from .volumes import RESTORED, contents, make_volumes, old_archive, tree

pytestmark = [pytest.mark.process, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
FEW = ("admin-secrets", "alerts-data", "gateway-data", "influxdb-data")
DOCKER = """#!/bin/bash
# A container is this machine, a volume is a folder below `volumes`; what is mounted below /here is copied.
cd "{folder}"
case "$1 $2" in
    "compose ps") case "$3 $4" in "-q ") ;; "-aq bootstrap") echo b00 ;; *) echo plant ;; esac ;;
    "compose --env-file") shift 3; exec "$0" compose "$@" ;;
    "compose up") echo "$MILLRACE_CONFIG" > config-of-up ;;
    "compose rm") ;;
    "inspect -f") case "$3" in *Mounts*) realpath config-in-use ;; *) echo image ;; esac ;;
    "network ls" | "ps -aq") ;;
    "volume ls") for name in volumes/*; do echo "plant_${{name#*/}} ${{name#*/}}"; done ;;
    "run "*)
        here=$(mktemp -d)
        mkdir "$here/settings"
        while [ "$1" != image ]; do
            case "$2" in *:/here/*) mount=${{2%:ro}}; cp -rL "${{mount%%:/here*}}" "$here/${{mount##*:/here/}}" ;; esac
            shift
        done
        shift
        [ ! -e slow ] || {{ echo begun > slow; sleep 60; }}
        [ "$2" != --help ] || exit 0
        exec "{python}" -m millrace_admin "${{@//\\/here/$here}}" --volumes "{folder}/volumes" ;;
    *) echo "no such thing: $*" >&2; exit 64 ;;
esac
"""


class Server:
    """A clone with a platform that is set up, on the sample's folder of another plant model."""

    def __init__(self, folder: Path, word: str, volumes: Sequence[str] = FEW) -> None:
        self.folder = folder
        (folder / "scripts").mkdir(parents=True)
        for name in ("backup", "restore"):
            shutil.copy(ROOT / "scripts" / name, folder / "scripts" / name)
        (folder / "bin").mkdir()
        docker = folder / "bin" / "docker"
        docker.write_text(DOCKER.format(folder=folder, python=sys.executable))
        docker.chmod(0o755)
        make_volumes(folder / "volumes", word, volumes)
        self.write("config/plant.yaml", "root: sample\n")
        self.use("config")

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def read(self, path: str) -> str:
        return (self.folder / path).read_text()

    def use(self, config: str) -> None:
        """The folder that the containers have mounted."""
        (self.folder / "config-in-use").unlink(missing_ok=True)
        (self.folder / "config-in-use").symlink_to(self.folder / config)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "COMPOSE"))}
        return kept | {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}"}

    def run(self, name: str, *arguments: str, status: int = 0) -> str:
        """What it said, on both outputs."""
        done = subprocess.run(
            [self.folder / "scripts" / name, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr


def real_plant(folder: Path, volumes: Sequence[str] = FEW) -> Server:
    """With settings and a plant model of its own."""
    server = Server(folder, "real", volumes)
    server.write("plant/plant.yaml", "root: real\n")
    server.write("plant/profiles/press.yaml", "title: Press\n")
    server.write(".env", "MILLRACE_CONFIG=./plant\nMILLRACE_SIMULATOR=0\n")
    server.use("plant")
    return server


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Server:
    return real_plant(tmp_path_factory.mktemp("real") / "plant")


@pytest.fixture(scope="module")
def backup(plant: Server) -> str:
    file = str(plant.folder / "backups" / "plant.tar.gz")
    plant.run("backup", file)
    return file


def data_of(server: Server) -> dict[str, bytes]:
    return {path: content for path, content in tree(server.folder / "volumes").items() if not path.endswith(".restored")}


def test_a_backup_holds_settings_and_plant_model_and_only_its_maker_can_read_it(backup: str) -> None:
    assert Path(backup).stat().st_mode & 0o777 == 0o600
    held = contents(Path(backup).read_bytes())
    assert held["settings/env"].startswith(b"MILLRACE_CONFIG=./plant\n")
    assert (held["config/plant.yaml"], held["config/profiles/press.yaml"]) == (b"root: real\n", b"title: Press\n")


def test_a_new_server_gets_settings_and_plant_model_with_the_data(plant: Server, backup: str, tmp_path: Path) -> None:
    server = Server(tmp_path / "new", "new")
    said = server.run("restore", backup, "--yes")
    assert data_of(server) == data_of(plant)
    assert server.read(".env") == plant.read(".env")
    assert server.read("plant/profiles/press.yaml") == "title: Press\n"
    assert server.read("config/plant.yaml") == "root: sample\n"
    assert ".env was not here, and is the backup's" in said
    # Containers are never made on a folder that is not there: Docker would make it, empty.
    assert not server.read("config-of-up").startswith("./")


def test_a_server_on_another_plant_model_is_not_changed_before_somebody_has_said_which_counts(backup: str, tmp_path: Path) -> None:
    server = Server(tmp_path / "new", "new")
    server.write(".env", "MILLRACE_SIMULATOR=1\n")
    before = tree(server.folder)
    said = server.run("restore", backup, "--yes", status=2)
    assert "MILLRACE_SIMULATOR: '1' here, '0' in the backup" in said
    assert "plant.yaml: differs" in said
    assert "say which it is to run on, --settings saved or --settings here; nothing was changed" in said
    server.write("config-of-up", "")
    assert {path: text for path, text in tree(server.folder).items() if path != "config-of-up"} == before


def test_settings_that_are_replaced_are_kept_beside(plant: Server, backup: str, tmp_path: Path) -> None:
    server = Server(tmp_path / "new", "new")
    server.write(".env", "MILLRACE_CONFIG=./plant\n")
    server.write("plant/plant.yaml", "root: changed since\n")
    server.run("restore", backup, "--yes", "--settings=saved")
    assert (server.read(".env"), server.read("plant/plant.yaml")) == (plant.read(".env"), "root: real\n")
    [settings], [model] = (list(server.folder.glob(f"{name}.before-restore-*")) for name in (".env", "plant"))
    assert settings.read_text() == "MILLRACE_CONFIG=./plant\n"
    assert (model / "plant.yaml").read_text() == "root: changed since\n"


def test_an_old_backup_is_not_brought_up_on_the_sample_plant(tmp_path: Path) -> None:
    plant = real_plant(tmp_path / "plant", OLD_ORDER)
    for path in ("plant.yaml", "profiles/press.yaml"):
        plant.write(f"volumes/admin-secrets/accepted-config/{path}", plant.read(f"plant/{path}"))
    old = tmp_path / "old.tar.gz"
    old.write_bytes(old_archive(plant.folder / "volumes"))
    server = Server(tmp_path / "new", "new", OLD_ORDER)
    said = server.run("restore", str(old), "--yes", status=2)
    assert "profiles/press.yaml: only in the backup" in said
    server.run("restore", str(old), "--yes", "--settings", "saved")
    assert data_of(server) == data_of(plant)
    assert (server.read("config/plant.yaml"), server.read("config/profiles/press.yaml")) == ("root: real\n", "title: Press\n")


def test_a_restore_without_a_terminal_wants_a_word_that_it_may_replace_data(plant: Server, backup: str) -> None:
    before = data_of(plant)
    said = plant.run("restore", backup, status=2)
    assert "The backup is whole" in said
    assert "all present data would be replaced: add --yes to do it without a question; nothing was changed" in said
    assert data_of(plant) == before


def test_a_backup_that_is_killed_leaves_a_file_that_the_next_one_removes(tmp_path: Path) -> None:
    plant = real_plant(tmp_path / "plant")
    file = tmp_path / "backups" / "one.tar.gz"
    plant.write("slow", "")
    cut = subprocess.Popen(
        [plant.folder / "scripts" / "backup", file], env=plant.environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: plant.read("slow"), "the copying to begin")
    os.killpg(cut.pid, signal.SIGKILL)
    cut.wait(20)
    assert [path.name for path in file.parent.iterdir()] == ["one.tar.gz.unfinished-backup"]
    (plant.folder / "slow").unlink()
    said = plant.run("backup", str(file.parent / "two.tar.gz"))
    assert "removing" in said
    assert [path.name for path in file.parent.iterdir()] == ["two.tar.gz"]
    assert "exists already; there is no backup" in plant.run("backup", str(file.parent / "two.tar.gz"), status=2)


def test_a_swap_that_was_cut_off_is_finished_before_anything_else(backup: str, tmp_path: Path) -> None:
    plant = real_plant(tmp_path / "plant")
    volumes = plant.folder / "volumes"
    with Path(backup).open("rb") as file:
        staging.stage(volumes, ArchiveReader(file), RESTORED)
    note = volumes / "admin-secrets" / ".restoring" / "staged"
    note.rename(volumes / "admin-secrets" / ".restoring-note")
    assert "finish it first: scripts/restore --finish" in plant.run("backup", f"{backup}.2", status=1)
    assert staging.is_cut_off(volumes)
    assert "is finished" in plant.run("restore", "--finish")
    assert not staging.is_cut_off(volumes)

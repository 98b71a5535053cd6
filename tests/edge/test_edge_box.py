"""An edge box in a folder: a real bundle is installed below it, and its unit's command run as the unit says, over TLS."""

from __future__ import annotations

import os
import platform
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace_admin.__main__ import main as admin
from millrace_admin.broker_config import LocalBroker, localised
from millrace_admin.certificates import make_authority
from millrace_contract.store_forward.sqlite import transaction
from millrace_contract.testing import Mosquitto, free_port, wait_until
from millrace_contract.testing.outboxes import EPOCH_MS, open_at, telemetry

REPOSITORY = Path(__file__).resolve().parents[2]
EDGE = REPOSITORY / "deploy/edge"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
OURS = ("/etc/millrace", "/opt/millrace-edge", "/var/lib/millrace-edge")

pytestmark = pytest.mark.broker

PLANT = """
root: factory
time_zone: Europe/Berlin
lines:
  line1:
    devices:
      METER-01:
        profile: demo-meter
        gateway: edge-2
        connection: {{transport: tcp, host: 127.0.0.1, port: {port}, unit: 1}}
"""


class Broker(Mosquitto):
    """The platform's own configuration and accounts, with TLS, and a reader of what arrives."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        super().__init__(folder)
        self.secrets, self.tls_port = secrets, free_port()

    def command(self) -> list[str]:
        user = pwd.getpwuid(os.geteuid()).pw_name
        broker = LocalBroker(self.secrets / "mosquitto", self.folder, user, port=self.port, tls_port=self.tls_port)
        config = self.folder / "mosquitto.conf"
        config.write_text(localised((REPOSITORY / "mosquitto/mosquitto.conf").read_text(), broker))
        return [self.binary() or "mosquitto", "-c", str(config)]


class Box:
    """A system tree below `root` that no systemd runs."""

    def __init__(self, root: Path, bundle: Path) -> None:
        self.root, self.bundle = root, bundle

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(str(self.bundle / "install"), "--root", str(self.root), "--python", sys.executable, *arguments)

    def millrace_edge(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(str(self.bundle / "millrace-edge"), "--root", str(self.root), *arguments)

    def examine(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run(sys.executable, "-I", str(self.bundle / "examine.py"), "--root", str(self.root), *arguments)

    def check(self) -> subprocess.CompletedProcess[str]:
        """Without the time that a gateway gets which has just started."""
        return self.millrace_edge("check", "--wait", "0")

    def path(self, name: str) -> Path:
        return self.root / name.lstrip("/")

    @property
    def version(self) -> str:
        return self.path("opt/millrace-edge/current").readlink().name

    def start(self) -> subprocess.Popen[bytes]:
        """What systemd would start: command, environment and credential of the unit, with its places below `root`."""
        unit = self._placed(self.path("etc/systemd/system/millrace-gateway.service").read_text())
        credentials = self.root / "run/credentials"
        credentials.mkdir(parents=True, exist_ok=True)
        for name, source in re.findall(r"^LoadCredential=(\w+):(.+)$", unit, re.MULTILINE):
            shutil.copyfile(source, credentials / name)
        environment = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit.replace("%d", str(credentials)), re.MULTILINE))
        for file in re.findall(r"^EnvironmentFile=(.+)$", unit, re.MULTILINE):
            environment |= dict(re.findall(r"^(\w+)=(.*)$", Path(file).read_text(), re.MULTILINE))
        command = shlex.split(re.findall(r"^ExecStart=(.+)$", unit, re.MULTILINE)[0])
        folder = self.path("var/lib/millrace-edge")
        folder.mkdir(parents=True, exist_ok=True)
        with (self.root / "gateway.log").open("wb") as log:
            return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    def log(self) -> str:
        return (self.root / "gateway.log").read_text()

    def _placed(self, text: str) -> str:
        for place in OURS:
            text = text.replace(place, f"{self.root}{place}")
        return text

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for this machine and this Python, unpacked."""
    folder = tmp_path_factory.mktemp("bundle")
    made = subprocess.run(
        [str(EDGE / "bundle"), "--python", PYTHON, "--out", str(folder)], capture_output=True, text=True, timeout=300, check=False
    )
    if made.returncode:
        if os.environ.get("CI") == "true":
            pytest.fail(made.stderr)
        pytest.skip(f"no bundle can be made here, a package index is needed: {made.stderr[-200:]}")
    (tar,) = folder.glob(f"millrace-edge-*-{platform.machine()}.tar")
    subprocess.run(["tar", "-x", "-f", str(tar), "-C", str(folder)], check=True)
    return tar.with_suffix("")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    if Mosquitto.binary() is None:
        pytest.fail("mosquitto is not on this machine") if os.environ.get("CI") == "true" else pytest.skip("no mosquitto")
    folder = tmp_path_factory.mktemp("server")
    assert admin(["bootstrap", "--secrets", str(folder / "secrets"), "--config", str(REPOSITORY / "config"), "--keep-owner"]) == 0
    server = Broker(folder / "broker", folder / "secrets")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def kit(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kit of a gateway edge-2, whose one device a simulator serves; from here on the broker runs."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "config/profiles").mkdir(parents=True)
    (folder / "config/plant.yaml").write_text(PLANT.format(port=free_port()))
    shutil.copy(REPOSITORY / "config/calendar.yaml", folder / "config")
    shutil.copy(REPOSITORY / "config/profiles/demo-meter.yaml", folder / "config/profiles")
    kit = folder / "edge-2.tar"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_MQTT_TLS_PORT", str(broker.tls_port))
        arguments = ["--config", str(folder / "config"), "--secrets", str(broker.secrets), "--keep-owner"]
        assert admin(["access", "add-gateway", "edge-2", "--host", "localhost", "--kit", str(kit), *arguments]) == 0
    broker.start()
    environment = os.environ | {"MILLRACE_CONFIG": str(folder / "config"), "MILLRACE_DATA": str(folder / "simulator")}
    with (folder / "simulator.log").open("wb") as log:
        simulator = subprocess.Popen([sys.executable, "-m", "millrace_simulator", "run"], env=environment, stdout=log, stderr=log)
    yield kit
    simulator.terminate()
    simulator.wait(20)


@pytest.fixture(scope="module")
def installed(bundle: Path, kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Box:
    """A box after its first installation; not to be changed."""
    box = Box(tmp_path_factory.mktemp("installed"), bundle)
    done = box.install("--kit", str(kit))
    assert done.returncode == 0, done.stderr
    return box


@pytest.fixture
def box(installed: Box, tmp_path: Path) -> Box:
    """A copy of it. Files are links where nobody writes into them."""
    root = tmp_path / "box"
    shutil.copytree(installed.path("opt"), root / "opt", symlinks=True, copy_function=os.link)
    for place in ("etc", "usr"):
        shutil.copytree(installed.path(place), root / place, symlinks=True)
    return Box(root, installed.bundle)


def _other_bundle(bundle: Path, target: Path, **files: str) -> Path:
    """The same bundle with other `files`, whole."""
    shutil.copytree(bundle, target, copy_function=os.link)
    sums = (bundle / "SHA256SUMS").read_text().splitlines(keepends=True)
    for name in (*files, "SHA256SUMS", "examine.py"):
        (target / name).unlink()
        shutil.copy(bundle / name, target)
    for name, text in files.items():
        (target / name).write_text(f"{text}\n")
    (target / "SHA256SUMS").write_text("".join(line for line in sums if line.split("./")[-1].strip() not in files))
    return target


def test_box_reads_and_sends_over_tls_and_gives_back_what_it_took(box: Box, broker: Broker) -> None:
    password = box.path("etc/millrace/secrets/mqtt_password")
    assert (password.stat().st_mode & 0o777, password.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert password.read_text().strip() not in box.path("etc/millrace/edge.env").read_text()
    with box.path("etc/millrace/edge.env").open("a") as settings:
        settings.write(f"MILLRACE_HTTP_PORT={free_port()}\n")

    gateway = box.start()
    try:
        assert box.examine("--await-live", "60").returncode == 0, box.log()
        wait_until(lambda: _topics(broker), "telemetry from the box")
        wait_until(lambda: "fine             gateway edge-2  1 of 1 devices online" in box.check().stdout, "the device to be read")
        checked = box.check()
        assert checked.returncode == 0, checked.stdout
        assert f"TLS at localhost:{broker.tls_port} is trusted; its certificate is good for 1,82" in checked.stdout
        assert "gateway has what it needs" in checked.stdout
        support = box.millrace_edge("check", "--support", str(box.root / "support.json"))
        assert support.returncode == 0, support.stderr
        assert password.read_text().strip() not in (box.root / "support.json").read_text()
    finally:
        gateway.terminate()
        assert gateway.wait(20) == 0
    assert "<6>gateway_started devices=1 connections=1" in box.log()

    # Nobody confirmed: the outbox holds everything that was read.
    refused = box.millrace_edge("remove", "--purge")
    assert refused.returncode == 2
    assert re.search(r"the outbox holds \d+ messages \(the oldest \d+ s old\) that the database does not have", refused.stderr)
    kept = box.millrace_edge("remove")
    assert kept.returncode == 0, kept.stderr
    assert not box.path("opt/millrace-edge").exists()
    assert not [path for path in box.path("etc/systemd").rglob("*") if not path.is_dir()]
    assert box.path("var/lib/millrace-edge/outbox.sqlite").exists()
    assert box.millrace_edge("remove", "--purge", "--yes").returncode == 0
    assert not [path for place in OURS if (path := box.path(place)).exists()]


def _topics(broker: Broker) -> set[str]:
    """Topics of messages that the broker passes on within a second."""
    reader = shutil.which("mosquitto_sub")
    assert reader is not None, "mosquitto_sub is not on this machine: install mosquitto-clients"
    password = (broker.secrets / "admin/mqtt_password").read_text().strip()
    account = ["-u", "admin", "-P", password, "-h", "127.0.0.1", "-p", str(broker.port)]
    heard = subprocess.run(
        [reader, *account, "-t", "factory/line1/METER-01/telemetry", "-F", "%t", "-W", "3", "-C", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return set(heard.stdout.split())


@pytest.mark.parametrize(("confirmed", "said"), [(0, "3 messages (the oldest "), (1, "2 messages (the oldest "), (3, "")])
def test_what_is_confirmed_and_kept_is_not_unsent(tmp_path: Path, confirmed: int, said: str) -> None:
    """Needs no bundle and no broker."""
    data = tmp_path / "var/lib/millrace-edge"
    data.mkdir(parents=True)
    file = open_at(data / "outbox.sqlite")
    with transaction(file.outbox.connection):
        rows = file.outbox.append([telemetry("METER-01") for _ in range(3)])
    with transaction(file.outbox.connection):
        file.outbox.keep([(row.id, row.id) for row in rows[:confirmed]], EPOCH_MS)
    file.close()
    told = subprocess.run(
        [sys.executable, "-I", str(EDGE / "examine.py"), "--root", str(tmp_path), "--unsent"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.startswith(said)
    assert bool(told.stdout) == bool(said)


def test_upgrade_keeps_the_settings_and_the_way_back(box: Box, tmp_path: Path) -> None:
    first = box.version
    newer = Box(box.root, _other_bundle(box.bundle, tmp_path / "newer", VERSION="9.9.9-0000cafe"))
    versions, unit = box.path("opt/millrace-edge"), box.path("etc/systemd/system/millrace-gateway.service")
    # As if it had been unpacked already: what unpacking does is seen in `installed`.
    shutil.copytree(versions / first, versions / "9.9.9-0000cafe", symlinks=True, copy_function=os.link)
    (versions / "0.0.1-00000000").mkdir()
    upgraded = newer.install()
    assert upgraded.returncode == 0, upgraded.stderr
    assert box.version == "9.9.9-0000cafe"
    assert sorted(path.name for path in versions.iterdir()) == sorted([first, "9.9.9-0000cafe", "current", "previous"])
    assert "ExecStart=/opt/millrace-edge/9.9.9-0000cafe/venv/" in unit.read_text()
    assert box.millrace_edge("rollback").returncode == 0
    assert box.version == first
    assert f"ExecStart=/opt/millrace-edge/{first}/venv/" in unit.read_text()
    assert "MILLRACE_INSTANCE=edge-2" in box.path("etc/millrace/edge.env").read_text()
    wants = box.path("etc/systemd/system/multi-user.target.wants/millrace-gateway.service")
    assert wants.resolve() == box.path("etc/systemd/system/millrace-gateway.service")


def test_a_plant_model_with_mistakes_is_refused_and_what_runs_stays(box: Box, kit: Path, tmp_path: Path) -> None:
    (tmp_path / "kit").mkdir()
    subprocess.run(["tar", "-x", "-f", str(kit), "-C", str(tmp_path / "kit")], check=True)
    plant = tmp_path / "kit/config/plant.yaml"
    good = plant.read_text()
    plant.write_text(good.replace("demo-meter", "demo-metre"))
    for refused in (box.install("--kit", str(tmp_path / "kit")), box.millrace_edge("config", str(tmp_path / "kit/config"))):
        assert refused.returncode == 2
        assert "plant.yaml:8: lines.line1.devices.METER-01.profile: no profile 'demo-metre'" in refused.stderr + refused.stdout
    assert box.path("etc/millrace/config/plant.yaml").read_text() == good
    plant.write_text(good.replace("line1:", "line7:"))
    assert box.millrace_edge("config", str(tmp_path / "kit/config")).returncode == 0
    assert "line7" in box.path("etc/millrace/config/plant.yaml").read_text()
    assert box.path("etc/millrace/config.before/plant.yaml").read_text() == good


def test_what_cannot_be_installed_is_refused_in_words_and_changes_nothing(bundle: Path, kit: Path, tmp_path: Path) -> None:
    box = Box(tmp_path / "box", bundle)
    assert "the first time it needs --kit FILE" in box.install().stderr
    (tmp_path / "kit").mkdir()
    assert "lacks edge.env. Nothing was changed" in box.install("--kit", str(tmp_path / "kit")).stderr
    damaged = Box(box.root, _other_bundle(bundle, tmp_path / "damaged"))
    with (damaged.bundle / "examine.py").open("a") as script:
        script.write("#")
    assert "the bundle is damaged: copy it anew. Nothing was changed" in damaged.install("--kit", str(kit)).stderr
    foreign = Box(box.root, _other_bundle(bundle, tmp_path / "foreign", PYTHONS="3.8"))
    assert f"the bundle is for {platform.machine()} with Python 3.8, but this is" in foreign.install("--kit", str(kit)).stderr
    assert not box.root.exists()


def test_a_broker_that_is_away_or_a_stranger_is_named(box: Box, broker: Broker) -> None:
    settings = box.path("etc/millrace/edge.env")
    told = settings.read_text()
    settings.write_text(told.replace(f"MILLRACE_MQTT_PORT={broker.tls_port}", f"MILLRACE_MQTT_PORT={free_port()}"))
    away = box.check()
    assert away.returncode == 2
    assert "broker      cannot be reached: nothing listens at localhost:" in away.stdout
    settings.write_text(told)
    box.path("etc/millrace/ca.crt").write_text(make_authority(datetime.now(UTC)).certificate)
    stranger = box.check()
    assert stranger.returncode == 2
    assert "its certificate is not trusted: " in stranger.stdout
    assert "-> a new kit from the server" in stranger.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_takes_the_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    unit = tmp_path / "millrace-gateway.service"
    command = "/opt/millrace-edge/current/venv/bin/python"
    unit.write_text((EDGE / unit.name).read_text().replace(command, sys.executable))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(unit)], capture_output=True, check=False
    )
    assert rated.returncode == 0, rated.stdout.decode()


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not on this machine")
def test_the_scripts_are_clean() -> None:
    scripts = [str(EDGE / name) for name in ("bundle", "install", "millrace-edge")]
    checked = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout

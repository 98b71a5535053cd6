"""mosquitto and influxd on a machine without Docker: found in order, got without root, nothing half made left behind."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from millrace_admin.servers import influxd, mosquitto, places
from millrace_admin.servers.progress import in_words
from millrace_contract.testing import free_port, wait_until

pytestmark = pytest.mark.process

REPOSITORY = Path(__file__).resolve().parents[2]
DRIVER = """
import sys
from millrace_admin.servers import __main__, influxd, places
places.SYSTEM_FOLDERS = ""
influxd.ARCHIVES = "http://127.0.0.1:9"  # nobody listens there
sys.exit(__main__.main())
"""
"""`python -m millrace_admin.servers` on a machine that has nothing in its folders of servers, and reaches no archive."""


class Machine:
    """A machine of the test's own: the programs on its PATH and its cache."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.cache = folder / "cache" / "millrace"
        self.environ = {"PATH": str(self.programs), "XDG_CACHE_HOME": str(self.cache.parent), "HOME": str(folder)}
        self.said: list[str] = []
        self.reported: list[str] = []

    def has(self, name: str, script: str = "exit 0", folder: Path | None = None) -> Path:
        path = (folder or self.programs) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\nPATH=$PATH:/usr/bin:/bin\n{script}\n")
        path.chmod(0o755)
        return path

    def half_made(self) -> list[str]:
        return [path.name for path in self.cache.glob("*.part")]

    def get_influxd(self) -> str:
        return influxd.get_influxd(self.environ, REPOSITORY, self.said.append, self.reported.append)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(places, "SYSTEM_FOLDERS", str(tmp_path / "sbin"))
    monkeypatch.setattr(influxd, "ARCHIVES", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(influxd, "CRATES", 0)  # the Go of these tests has no Rust beside it
    return Machine(tmp_path)


def test_mosquitto_is_found_on_path_then_beside_it_then_in_the_cache(machine: Machine, tmp_path: Path) -> None:
    assert places.find_mosquitto(machine.environ) is None
    cached = machine.has("mosquitto", folder=machine.cache / "bin")
    assert places.find_mosquitto(machine.environ) == str(cached)
    beside = machine.has("mosquitto", folder=tmp_path / "sbin")
    assert places.find_mosquitto(machine.environ) == str(beside)
    on_path = machine.has("mosquitto")
    assert places.find_mosquitto(machine.environ) == str(on_path)


def test_influxd_is_the_one_named_then_on_path_then_in_the_cache(machine: Machine) -> None:
    assert places.find_influxd(machine.environ) is None
    cached = machine.has("influxd", folder=machine.cache / "bin")
    assert places.find_influxd(machine.environ) == str(cached)
    on_path = machine.has("influxd")
    assert places.find_influxd(machine.environ) == str(on_path)
    assert places.find_influxd({**machine.environ, "MILLRACE_INFLUXD": "/opt/influxd"}) == "/opt/influxd"


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("apt-get", "install it with: sudo apt-get install mosquitto"),
        ("dnf", "install it with: sudo dnf install mosquitto"),
        ("pacman", "install it with: sudo pacman -S mosquitto"),
        (None, "install mosquitto 2 from your system's packages"),
    ],
)
def test_where_mosquitto_cannot_be_had_the_line_to_type_is_said(machine: Machine, tool: str | None, line: str) -> None:
    if tool is not None:
        machine.has(tool, "echo no network >&2; exit 100")
    with pytest.raises(places.NotToBeHad, match=f"{line}$"):
        mosquitto.get_mosquitto(machine.environ, machine.said.append)
    assert machine.half_made() == []


@pytest.mark.broker
def test_mosquitto_is_unpacked_from_the_distributions_packages_without_root(tmp_path: Path) -> None:
    """As on a machine that has neither it nor its libraries: apt is told so by a list of what is installed."""
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get on this machine")
    machine = Machine(tmp_path)
    status = tmp_path / "status"
    status.write_text(
        _installed_without("mosquitto", "mosquitto-clients", "libmosquitto1", "libcjson1", "libdlt2", "libwebsockets17")
    )
    environ = {**os.environ, **machine.environ, "PATH": "/usr/bin:/bin"}
    try:
        starter = mosquitto.get_mosquitto(environ, machine.said.append, ("-o", f"Dir::State::Status={status}"))
    except places.NotToBeHad as failed:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the distribution's packages are out of reach: {failed}")
    assert places.find_mosquitto(machine.environ | {"PATH": ""}) in (starter, shutil.which("mosquitto", path=places.SYSTEM_FOLDERS))
    assert machine.half_made() == []
    port = free_port()
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nuser root\n")
    broker = subprocess.Popen([starter, "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port), "the unpacked broker to listen", 30)
        loaded = Path(f"/proc/{broker.pid}/maps").read_text()
        assert str(machine.cache / "mosquitto" / "usr" / "sbin" / "mosquitto") in loaded
        assert str(machine.cache / "mosquitto" / "usr" / "lib") in loaded, "its libraries are the unpacked ones"
        told = subprocess.run(
            [machine.cache / "bin" / "mosquitto_pub", "-p", str(port), "-t", "a", "-m", "b"], check=False, timeout=30
        )
        assert told.returncode == 0
    finally:
        broker.terminate()
        broker.wait(20)


def _installed_without(*names: str) -> str:
    """What dpkg has installed, but for these and all that need them."""
    lacking = set(names)
    packages = {}
    for text in Path("/var/lib/dpkg/status").read_text().split("\n\n"):
        needed = re.findall(r"^(?:Pre-)?Depends: (.*)$", text, re.MULTILINE)
        packages[text] = set(re.findall(r"(?:^|[,|] *)([a-z0-9.+-]+)", ",".join(needed)))
    while True:
        left = [text for text, needs in packages.items() if not needs & lacking and _name(text) not in lacking]
        found = {_name(text) for text in packages} - {_name(text) for text in left}
        if found <= lacking:
            return "\n\n".join(left)
        lacking |= found


def _name(package: str) -> str:
    return package.partition("\n")[0].removeprefix("Package: ")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


NAME = f"influxdb2-{places.INFLUXD_VERSION}_linux_amd64.tar.gz"


@pytest.fixture
def archive(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A server of archives with an influxd that answers; the file can be changed."""
    monkeypatch.setattr(influxd, "ARCHITECTURES", {(os.uname().sysname, os.uname().machine): "linux_amd64"})
    folder = tmp_path / "archives"
    folder.mkdir()
    program = b"#!/bin/sh\necho InfluxDB\n"
    with tarfile.open(folder / NAME, "w:gz") as tar:
        entry = tarfile.TarInfo("influxdb2/usr/bin/influxd")
        entry.size = len(program)
        tar.addfile(entry, io.BytesIO(program))
    (folder / f"{NAME}.sha256").write_text(f"{hashlib.sha256((folder / NAME).read_bytes()).hexdigest()}  {NAME}\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(influxd, "ARCHIVES", f"http://127.0.0.1:{server.server_port}")
    yield folder / NAME
    server.shutdown()
    server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's word
        pass


def test_influxd_comes_out_of_the_official_archive_when_its_checksum_fits(machine: Machine, archive: Path) -> None:
    assert machine.get_influxd() == str(machine.cache / "bin" / "influxd")
    assert influxd.flaw_of(str(machine.cache / "bin" / "influxd")) is None
    assert machine.reported[-1].startswith("downloading ")
    assert machine.half_made() == []


def test_an_archive_with_another_checksum_is_not_used(machine: Machine, archive: Path) -> None:
    archive.write_bytes(archive.read_bytes() + b"more")
    with pytest.raises(places.NotToBeHad, match="the checksum of the archive is wrong"):
        machine.get_influxd()
    assert not (machine.cache / "bin" / "influxd").exists()
    assert machine.half_made() == []


def test_where_nothing_is_there_one_line_says_how_to_get_the_database(machine: Machine) -> None:
    with pytest.raises(places.NotToBeHad) as raised:
        machine.get_influxd()
    said = str(raised.value)
    assert "its archive can't be reached" in said
    assert "a build needs go, cargo, cc, pkg-config, which this machine lacks" in said
    assert said.endswith(f"put its influxd at {machine.cache / 'bin' / 'influxd'}")
    assert "\n" not in said


GO = """
case "$*" in
    *"mod download"*) ;;
    *"-o pkg-config"*) echo made > pkg-config ;;
    *list*) for i in 1 2 3 4 5 6 7 8 9 10; do echo pkg$i; done ;;
    *"-o influxd"*)
        {first}
        for i in 1 2 3 4 5; do echo pkg$i; done
        {then}
        for i in 6 7 8 9 10; do echo pkg$i; done
        printf '#!/bin/sh\\necho InfluxDB\\n' > influxd ;;
esac
"""


def _tools(machine: Machine, first: str = "", then: str = "") -> None:
    machine.has("go", GO.format(first=first, then=then))
    for name in ("cargo", "cc", "pkg-config"):
        machine.has(name)


def test_influxd_is_built_with_progress_where_the_archive_cannot_be_reached(machine: Machine) -> None:
    _tools(machine)
    machine.get_influxd()
    assert machine.reported[0] == "getting the Go modules"
    assert [line.split(",")[0] for line in machine.reported[-2:]] == ["building 90 %", "building 99 %"]
    assert machine.half_made() == []
    assert not (machine.cache / "influxd-build").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_build_that_is_broken_off_ends_all_its_processes_and_goes_on_the_next_time(
    machine: Machine, tmp_path: Path, number: signal.Signals
) -> None:
    _tools(machine, then=f"sleep 600 & echo $! > {tmp_path}/compiler; wait")
    process = _start(machine, "influxd")
    wait_until((tmp_path / "compiler").exists, "the compiler to run", 30)
    wait_until(lambda: (machine.cache / "influxd-build" / "compiled").read_text().count("\n") == 5, "five packages", 30)
    process.send_signal(number)
    assert process.wait(30) == 128 + number
    wait_until(lambda: _has_ended(int((tmp_path / "compiler").read_text())), "the compiler to end", 30)
    assert machine.half_made() == []
    assert not (machine.cache / "bin" / "influxd").exists()
    _tools(machine)
    machine.get_influxd()
    assert next(line for line in machine.reported if line.startswith("building") and "%" in line) == "building 50 %"


def test_a_download_of_packages_that_is_broken_off_leaves_nothing(machine: Machine, tmp_path: Path) -> None:
    machine.has("apt-get", f"touch mosquitto.deb.partial; sleep 600 & echo $! > {tmp_path}/downloader; wait")
    machine.has("dpkg-deb")
    process = _start(machine, "mosquitto")
    wait_until(lambda: (tmp_path / "downloader").exists() and (tmp_path / "downloader").read_text(), "the download", 30)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 128 + signal.SIGINT
    wait_until(lambda: _has_ended(int((tmp_path / "downloader").read_text())), "the downloader to end", 30)
    assert machine.half_made() == []


def test_what_a_killed_run_left_half_made_is_not_used(machine: Machine) -> None:
    left = machine.cache / "influxd-build" / "go" / "pkgconfig" / "github.com" / "influxdata" / "flux@v1"
    (left / "libflux").mkdir(parents=True)
    whole = left.with_name("flux@v2")
    (whole / "libflux" / "target").mkdir(parents=True)
    (machine.cache / "influxd-modules.part").mkdir()
    _tools(machine, first=f"ls {left.parent} > {machine.cache}/found")
    machine.get_influxd()
    assert (machine.cache / "found").read_text() == "flux@v2\n"
    assert machine.half_made() == []


def test_clearing_up_is_finished_by_who_is_told_to_end_in_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the demo does once it sees the influxd that was made."""
    really, told = shutil.rmtree, [SystemExit(143)]

    def interrupted(folder: Path, ignore_errors: bool = False) -> None:
        if folder.exists() and any(folder.iterdir()) and told:
            raise told.pop()
        really(folder, ignore_errors=ignore_errors)

    _tools(machine)
    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(SystemExit):
        machine.get_influxd()
    assert places.find_influxd(machine.environ) == str(machine.cache / "bin" / "influxd")
    assert sorted(path.name for path in machine.cache.iterdir()) == ["bin", "influxd.lock"]


def _start(machine: Machine, server: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, server, "--repository", str(REPOSITORY)],
        env=machine.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _has_ended(pid: int) -> bool:
    """An orphan that nobody has waited for counts as ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


def test_time_left_is_said_once_something_can_be_said_about_it() -> None:
    assert in_words(0.01, 5) == "1 %"
    assert in_words(0.43, 140) == "43 %, ~3 min left"
    assert in_words(0.9, 90) == "90 %, ~10 s left"
    assert in_words(0.75, 60, first_share=0.5) == "75 %, ~1 min left", "what an earlier run did took no time of this one"
    assert in_words(1.0, 90) == "99 %, ~1 s left"

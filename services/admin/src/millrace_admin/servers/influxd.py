"""influxd: the official archive with its checksum, else a build from Go modules."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from millrace_contract.runtime.clock import SystemClock

from . import progress
from .places import INFLUXD_VERSION, NotToBeHad, Tell, alone, cache_folder, cached, half_made
from .running import lines_of, run

ARCHIVES = "https://dl.influxdata.com/influxdb/releases"
ARCHITECTURES = {("Linux", "x86_64"): "linux_amd64", ("Linux", "aarch64"): "linux_arm64"}
CONNECT_LIMIT_S = 10.0
PIECE_BYTES = 1 << 18
TOOLS = ("go", "cargo", "cc", "pkg-config")
MODULE = "github.com/influxdata/influxdb/v2/cmd/influxd"
PKG_CONFIG = "github.com/influxdata/pkg-config"
TRY_LIMIT_S = 30.0
CRATES = 207
CRATE_IN_PACKAGES = 3
"""A part of influxd is written in Rust: so many crates, each as much work as some packages of Go. For the progress only."""

_clock = SystemClock()


def way_out(environ: Mapping[str, str]) -> str:
    """One line that says how to get influxd here."""
    return (
        f"install InfluxDB {INFLUXD_VERSION} (influxd on PATH), or put its influxd at {cache_folder(environ) / 'bin' / 'influxd'}"
    )


def flaw_of(influxd: str) -> str | None:
    """Why this program can't be used; None when it can."""
    try:
        tried = subprocess.run([influxd, "version"], capture_output=True, text=True, timeout=TRY_LIMIT_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as failed:
        return f"{influxd} does not run: {failed}"
    return None if tried.returncode == 0 else f"{influxd} does not run: it ends with {tried.returncode}"


def get_influxd(environ: Mapping[str, str], repository: Path, say: Tell, report: Tell) -> str:
    """Download or build; returns its path. `report` hears how far it is, often. Raises NotToBeHad."""
    cache = cache_folder(environ)
    with alone(cache, "influxd", say):
        if there := cached("influxd", environ):
            return there
        try:
            _from_archive(cache, environ, say, report)
        except NotToBeHad as no_archive:
            say(str(no_archive))
            try:
                _from_modules(cache, environ, repository, say, report)
            except NotToBeHad as no_build:
                raise NotToBeHad(f"{no_archive}; {no_build}; {way_out(environ)}") from no_build
    return str(cache / "bin" / "influxd")


def _put_in_place(made: Path, cache: Path) -> None:
    made.chmod(0o755)
    if flaw := flaw_of(str(made)):
        raise NotToBeHad(flaw)
    (cache / "bin").mkdir(exist_ok=True)
    made.replace(cache / "bin" / "influxd")


def _from_archive(cache: Path, environ: Mapping[str, str], say: Tell, report: Tell) -> None:
    """Refused unless the checksum that its maker publishes beside it, or the one in the environment, fits."""
    machine = (platform.system(), platform.machine())
    if machine not in ARCHITECTURES:
        raise NotToBeHad(f"there is no official archive for {' '.join(machine)}")
    name = f"influxdb2-{INFLUXD_VERSION}_{ARCHITECTURES[machine]}.tar.gz"
    say(f"asking for the official archive {name}")
    with half_made(cache, "influxd-archive") as work:
        try:
            found = _download(f"{ARCHIVES}/{name}", work / name, report)
            wanted = environ.get("MILLRACE_INFLUXD_SHA256") or _published_checksum(f"{ARCHIVES}/{name}.sha256")
        except OSError as failed:
            reason = getattr(failed, "reason", failed)
            raise NotToBeHad(f"its archive can't be reached ({getattr(reason, 'strerror', None) or reason})") from failed
        if wanted is None:
            raise NotToBeHad("the archive has no checksum; set MILLRACE_INFLUXD_SHA256 to the one that its maker names")
        if found != wanted:
            raise NotToBeHad("the checksum of the archive is wrong; it is not used")
        with tarfile.open(work / name) as archive:
            member = next((each for each in archive if each.isfile() and Path(each.name).name == "influxd"), None)
            content = archive.extractfile(member) if member else None
            if content is None:
                raise NotToBeHad("there is no influxd in the archive")
            with content, (work / "influxd").open("wb") as made:
                shutil.copyfileobj(content, made)
        _put_in_place(work / "influxd", cache)


def _download(url: str, file: Path, report: Tell) -> str:
    """The checksum of what came. Raises OSError."""
    begun_s, done, sum256 = _clock.monotonic_s(), 0, hashlib.sha256()
    with urllib.request.urlopen(url, timeout=CONNECT_LIMIT_S) as answer, file.open("wb") as out:  # noqa: S310 - the address above
        size = int(answer.headers.get("Content-Length") or 0)
        while piece := answer.read(PIECE_BYTES):
            out.write(piece)
            sum256.update(piece)
            done += len(piece)
            far = progress.in_words(done / size, _clock.monotonic_s() - begun_s) if size else f"{done / 1e6:.0f} MB"
            report(f"downloading {far}")
    if done < size:
        raise OSError("the connection broke off")
    return sum256.hexdigest()


def _published_checksum(url: str) -> str | None:
    with urllib.request.urlopen(url, timeout=CONNECT_LIMIT_S) as answer:  # noqa: S310 - the address above
        found = re.match(rb"[0-9a-f]{64}", answer.read(1_000))
    return found[0].decode() if found else None


def _from_modules(cache: Path, environ: Mapping[str, str], repository: Path, say: Tell, report: Tell) -> None:
    """Goes on where an interrupted build stopped: compiled packages stay in a cache of its own until influxd is whole."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=environ.get("PATH", "")) is None]
    if missing:
        raise NotToBeHad(f"a build needs {', '.join(missing)}, which this machine lacks")
    say(f"building {INFLUXD_VERSION} from Go modules; this takes some ten minutes")
    kept = cache / "influxd-build"
    kept.mkdir(exist_ok=True)
    _forget_half_copies(kept / "go")
    with half_made(cache, "influxd-modules") as work:
        for name in ("go.mod", "go.sum"):
            shutil.copy(repository / "influxdb" / "build" / name, work)
        environ = {
            **environ,
            "GOFLAGS": "-mod=mod",
            "GOCACHE": str(kept / "go"),
            "RUSTFLAGS": "--cap-lints allow",
            "RUSTUP_TOOLCHAIN": environ.get("RUSTUP_TOOLCHAIN") or "stable",
            "PKG_CONFIG": str(work / "pkg-config"),
        }
        _build(work, environ, kept, report)
        kept.rename(work / "compiled")  # goes with this folder; once influxd is in its place, somebody may end us
        _put_in_place(work / "influxd", cache)


def _build(work: Path, environ: Mapping[str, str], kept: Path, report: Tell) -> None:
    """Modules, the build's own pkg-config, then influxd. How far it is goes by what is compiled; a file in `kept` remembers the
    packages of earlier runs."""
    _get_modules(work, environ, report)
    report("building its build tool")
    run(["go", "build", "-o", "pkg-config", PKG_CONFIG], work, {**environ, "PKG_CONFIG": ""})
    tags = "sqlite_foreign_keys,sqlite_json" + (",noasm" if platform.machine() == "aarch64" else "")
    packages = len(run(["go", "list", "-deps", "-tags", tags, MODULE], work, environ))
    book = kept / "compiled"
    compiled = set(book.read_text().split()) if book.exists() else set()
    whole = packages + CRATES * CRATE_IN_PACKAGES

    def share() -> float:
        crates = sum(1 for _ in (kept / "go").glob("pkgconfig/github.com/*/flux@*/libflux/target/**/.fingerprint/*"))
        return min((len(compiled) + min(crates, CRATES) * CRATE_IN_PACKAGES) / whole, 1.0)

    command = ["go", "build", "-v", "-trimpath", "-tags", tags, "-ldflags", f"-s -w -X main.version=v{INFLUXD_VERSION}"]
    first_share, begun_s = share(), _clock.monotonic_s()
    with lines_of([*command, "-o", "influxd", MODULE], work, environ) as lines, book.open("a") as written:
        for line in lines:
            written.write(f"{line}\n")
            written.flush()
            compiled.add(line)
            report(f"building {progress.in_words(share(), _clock.monotonic_s() - begun_s, first_share)}")


def _get_modules(work: Path, environ: Mapping[str, str], report: Tell) -> None:
    """How far it is goes by archives fetched; those that are in the machine's module cache are not told of."""
    report("getting the Go modules")
    archives = sum("/go.mod " not in line for line in (work / "go.sum").read_text().splitlines())
    begun_s = _clock.monotonic_s()
    with lines_of(["go", "mod", "download", "-x"], work, environ) as lines:
        for fetched, _ in enumerate((line for line in lines if ".zip: 200" in line), 1):
            far = progress.in_words(fetched / max(archives, fetched), _clock.monotonic_s() - begun_s)
            report(f"getting the Go modules, {far}")


def _forget_half_copies(go_cache: Path) -> None:
    """The build's pkg-config copies the sources of a library once and believes in the copy from then on: where no compiler has
    run in it, it may be half of one."""
    for copy in go_cache.glob("pkgconfig/github.com/*/flux@*"):
        if not (copy / "libflux" / "target").exists():
            shutil.rmtree(copy)

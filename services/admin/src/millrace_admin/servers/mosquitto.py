"""mosquitto out of the distribution's own packages, unpacked into the cache: no root, nothing of the system is changed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from .places import NotToBeHad, Tell, alone, cache_folder, cached, half_made
from .running import run

PACKAGES = ("mosquitto", "mosquitto-clients")
"""The broker; the clients are for the tests."""
IMPATIENT = ("-o", "Acquire::http::Timeout=15", "-o", "Acquire::https::Timeout=15", "-o", "Acquire::Retries=1")

TYPED = {
    "apt-get": "sudo apt-get install mosquitto",
    "dnf": "sudo dnf install mosquitto",
    "zypper": "sudo zypper install mosquitto",
    "pacman": "sudo pacman -S mosquitto",
    "apk": "sudo apk add mosquitto",
    "brew": "brew install mosquitto",
}
"""What a person types, by the program that installs packages."""


def way_out(path: str) -> str:
    """One line that says how to get mosquitto here."""
    for tool, line in TYPED.items():
        if shutil.which(tool, path=path):
            return f"install it with: {line}"
    return "install mosquitto 2 from your system's packages"


def get_mosquitto(environ: Mapping[str, str], say: Tell, options: Sequence[str] = ()) -> str:
    """Download, unpack, try; returns its path. `options` go to apt-get. Raises NotToBeHad."""
    path = environ.get("PATH", "")
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool, path=path) is None:
            raise NotToBeHad(f"mosquitto is not on this machine; {way_out(path)}")
    cache = cache_folder(environ)
    with alone(cache, "mosquitto", say):
        if there := cached("mosquitto", environ):
            return there
        say("it is not on this machine; getting it from the distribution's packages, without root")
        try:
            with half_made(cache, "mosquitto") as work:
                _unpack(_download(work, environ, (*IMPATIENT, *options), say), work / "tree", environ)
                return _put_in_place(work, cache, environ)
        except NotToBeHad as failed:
            raise NotToBeHad(
                f"mosquitto is not on this machine, and its package could not be had ({failed}); {way_out(path)}"
            ) from failed


def _download(work: Path, environ: Mapping[str, str], options: Sequence[str], say: Tell) -> list[Path]:
    """The packages and what they need that this machine lacks, checked by apt against its signed lists."""
    folder = work / "packages"
    folder.mkdir()
    try:
        _fetch(folder, environ, options)
    except NotToBeHad:
        say("the system's lists of packages are missing or old; reading them anew, for us alone")
        lists = work / "lists"
        (lists / "partial").mkdir(parents=True)
        options = (*options, "-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={work}", "-o", "APT::Sandbox::User=")
        run(["apt-get", *options, "update"], folder, {**environ, "LC_ALL": "C"})
        _fetch(folder, environ, options)
    return sorted(folder.glob("*.deb"))


def _fetch(folder: Path, environ: Mapping[str, str], options: Sequence[str]) -> None:
    environ = {**environ, "LC_ALL": "C"}
    would = run(["apt-get", *options, "--simulate", "--no-install-recommends", "install", *PACKAGES], folder, environ)
    missing = {match[1] for line in would if (match := re.match(r"Inst (\S+) ", line))}
    run(["apt-get", *options, "download", *sorted(missing | set(PACKAGES))], folder, environ)


def _unpack(packages: Sequence[Path], tree: Path, environ: Mapping[str, str]) -> None:
    for package in packages:
        run(["dpkg-deb", "--extract", str(package), str(tree)], package.parent, environ)


def _put_in_place(work: Path, cache: Path, environ: Mapping[str, str]) -> str:
    """The tree, then a starter for each of its programs, mosquitto last: once that stands, all of it does."""
    tree, starters = cache / "mosquitto", cache / "bin"
    _try(_starter(work / "tree", "mosquitto", work), environ)
    shutil.rmtree(tree, ignore_errors=True)
    (work / "tree").rename(tree)
    starters.mkdir(exist_ok=True)
    names = {program.name for folder in ("usr/bin", "usr/sbin") for program in (tree / folder).glob("mosquitto*")}
    for name in sorted(names, reverse=True):
        _starter(tree, name, work).replace(starters / name)
    return str(starters / "mosquitto")


def _try(starter: Path, environ: Mapping[str, str]) -> None:
    # Its exit status says nothing: asked for help, it answers with 3.
    tried = subprocess.run([starter, "-h"], env=dict(environ), capture_output=True, text=True, check=False)  # noqa: S603
    if "mosquitto version" not in tried.stdout:
        raise NotToBeHad(f"what was unpacked does not run: {tried.stderr.strip() or tried.returncode}")


def _starter(tree: Path, name: str, folder: Path) -> Path:
    """A small script that runs a program of the tree with the tree's own libraries."""
    [program] = [path for path in (tree / "usr/bin" / name, tree / "usr/sbin" / name) if path.is_file()]
    libraries = ":".join(sorted({str(path.parent) for path in tree.rglob("lib*.so*")}))
    path = folder / f"{name}.starter"
    own = f"export LD_LIBRARY_PATH={shlex.quote(libraries)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n" if libraries else ""
    path.write_text(f'#!/bin/sh\n{own}exec {shlex.quote(str(program))} "$@"\n')
    path.chmod(0o755)
    return path

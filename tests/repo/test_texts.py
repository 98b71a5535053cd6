"""What no file may hold: addresses in locks, hosts of package registries, paths of the machine it was written on, secrets."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

HOSTS = {
    "127.0.0.1", "localhost", "0.0.0.0", "influxdb", "grafana", "mosquitto", "alerts", "HOST",
    "dl.influxdata.com",  # the archive of influxd, with its checksum: scripts/influxd
    "json-schema.org", "www.apache.org", "www.w3.org",
}  # fmt: skip
"""Hosts that a file may name with a scheme: this server's own, documentation's examples, and names of formats."""

EXAMPLE = re.compile(r"(^|\.)(example|test|invalid)(\.(com|org|net))?$")
INDEX_OPTIONS = re.compile(r"--(extra-)?index-url|--find-links|--registry|\b(PIP|UV)_(EXTRA_)?INDEX|\bGOPROXY=")


def test_no_lock_holds_an_address(texts: dict[Path, str]) -> None:
    locks = [path for path in texts if re.fullmatch(r"requirements.*\.txt|.*\.lock", path.name)]
    assert locks, "no lock found"
    wrong = [str(path) for path in locks if "://" in texts[path]]
    assert not wrong, f"a plant with a mirror of its own could not install from it; write it with `make lock`: {wrong}"


def test_every_address_is_of_a_known_host(texts: dict[Path, str]) -> None:
    wrong = []
    for path, text in texts.items():
        for match in re.finditer(r"\b(?:https?|mqtts?|git|ssh)://(?:[^\s/@\"'<>]*@)?([A-Za-z0-9._-]+)", text):
            host = match[1].rstrip(".")
            if host not in HOSTS and not EXAMPLE.search(host):
                wrong.append(f"{path}:{text.count(chr(10), 0, match.start()) + 1} names {host}")
    assert not wrong, "leave it out, or add the host above with a reason:\n" + "\n".join(wrong)


def test_no_file_names_a_package_index(texts: dict[Path, str]) -> None:
    here = Path(__file__).relative_to(ROOT)
    # scripts/lock switches the index lines off; that is the one place that may speak of them.
    wrong = [
        f"{path}: {match[0]}"
        for path, text in texts.items()
        if path not in (here, Path("scripts/lock")) and (match := INDEX_OPTIONS.search(text))
    ]
    assert not wrong, f"where packages come from is the machine's own setting: {wrong}"


def test_images_are_named_without_a_registry(texts: dict[Path, str]) -> None:
    wrong = []
    for path, text in texts.items():
        if path.name != "Dockerfile" and path.suffix not in (".yml", ".yaml"):
            continue
        for match in re.finditer(r"^\s*(?:image:|FROM|ARG \w*IMAGE=)\s*\"?(?:\$\{[A-Z_]+:-)?([^\s\"}$]+)", text, re.MULTILINE):
            first = match[1].split("/")[0]
            if "/" in match[1] and ("." in first or ":" in first):
                wrong.append(f"{path}: {match[1]}")
    assert not wrong, f"a plant sets its registry in the image's variable: {wrong}"


def test_no_file_holds_a_path_of_this_machine(texts: dict[Path, str]) -> None:
    own = {str(ROOT), str(Path.home()), str(ROOT.parent)} - {"/", ""}
    wrong = [
        f"{path}: {folder}" for path, text in texts.items() for folder in own if re.search(rf"{re.escape(folder)}(/|\b)", text)
    ]
    assert not wrong, f"write paths relative to the repository or to the user's home: {wrong}"


def test_no_file_looks_like_a_secret(texts: dict[Path, str]) -> None:
    key = "-----BEGIN " + r"(?:[A-Z]+ )?PRIVATE KEY"
    wrong = [str(path) for path, text in texts.items() if re.search(key, text) or path.name == ".env"]
    assert not wrong, f"secrets are made by the bootstrap, on the plant's server: {wrong}"

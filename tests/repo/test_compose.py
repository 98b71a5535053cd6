"""Every container is healthy, bounded and unprivileged, and the plant can name its image."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

MAY_WRITE_ITS_ROOT: dict[str, str] = {}
"""Services without a read-only root file system, each with the reason."""

ANSWERS_OUTSIDE_THE_HOST = {"mosquitto": "8883: TLS and an account"}
"""Services whose published port is not bound to this host by default, each with what protects it."""

PINNED_IMAGE = re.compile(
    r"\$\{MILLRACE_[A-Z]+_IMAGE:-[a-z0-9._/-]+:(?!latest)[A-Za-z0-9._-]*\d[A-Za-z0-9._-]*(@sha256:[0-9a-f]{64})?\}"
)


def _one_shots() -> set[str]:
    waited_for = {
        name
        for service in SERVICES.values()
        if isinstance(service.get("depends_on"), dict)
        for name, wait in service["depends_on"].items()
        if wait["condition"] == "service_completed_successfully"
    }
    return waited_for | {name for name, service in SERVICES.items() if "tools" in service.get("profiles", [])}


def _keys_given_twice(node: yaml.Node | None) -> list[str]:
    found: list[str] = []
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        found += [f"line {key.start_mark.line + 1}: {key.value}" for key, _ in node.value if keys.count(key.value) > 1]
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    for child in children:
        for part in child if isinstance(child, tuple) else (child,):
            found += _keys_given_twice(part)
    return found


def test_no_key_is_given_twice() -> None:
    """Compose refuses such a file; PyYAML takes the last and says nothing."""
    twice = _keys_given_twice(yaml.compose((ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    assert not twice, f"docker-compose.yml: {sorted(set(twice))}"


def test_env_example_explains_each_variable_once() -> None:
    names = re.findall(r"^#?\s?(MILLRACE_[A-Z0-9_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    twice = sorted({name for name in names if names.count(name) > 1})
    assert not twice, f".env.example: {twice} more than once"


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "services").glob("*/README.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_of_a_service_starts_nothing_else(page: Path) -> None:
    """`run` starts what a service depends on, finished one-shots too: bootstrap and the database's, each time."""
    for options, name in re.findall(r"docker compose run ((?:-\S+ |\S+:\S+ )*)([a-z]+)", page.read_text(encoding="utf-8")):
        depends = SERVICES.get(name, {}).get("depends_on")
        assert not depends or "--no-deps" in options, f"{page.name}: docker compose run {options}{name}: add --no-deps"


@pytest.mark.parametrize("name", SERVICES)
def test_image_is_a_variable_with_an_exact_tag(name: str) -> None:
    image = SERVICES[name].get("image", "")
    assert PINNED_IMAGE.fullmatch(image), f"{name}: {image!r} is not ${{MILLRACE_..._IMAGE:-name:exact-tag}}"


@pytest.mark.parametrize("name", SERVICES)
def test_memory_and_processes_are_limited(name: str) -> None:
    assert {"mem_limit", "pids_limit"} <= SERVICES[name].keys(), f"{name}: give mem_limit and pids_limit"


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - _one_shots()))
def test_service_has_a_health_check_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service.get("healthcheck", {}).get("test"), f"{name}: `up --wait` cannot tell when it is ready; give it a healthcheck"
    assert service.get("restart") == "unless-stopped", f"{name}: restart must be unless-stopped"
    assert service.get("stop_grace_period"), f"{name}: say how long it may take to stop in good order"


@pytest.mark.parametrize("name", SERVICES)
def test_container_has_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service.get("read_only") is True or name in MAY_WRITE_ITS_ROOT, f"{name}: read_only, or a reason in MAY_WRITE_ITS_ROOT"
    assert service.get("cap_drop") == ["ALL"], f"{name}: cap_drop: [ALL]"
    assert "no-new-privileges:true" in service.get("security_opt", []), f"{name}: security_opt no-new-privileges"
    assert "privileged" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_logs_are_bounded(name: str) -> None:
    options = SERVICES[name].get("logging", {}).get("options", {})
    assert {"max-size", "max-file"} <= options.keys(), f"{name}: without a limit its log fills the disk"


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_in_the_environment(name: str) -> None:
    given = SERVICES[name].get("environment", {})
    wrong = [key for key in given if re.search(r"PASSWORD|TOKEN|SECRET_KEY", key) and not key.endswith("_FILE")]
    assert not wrong, f"{name}: an environment is shown by docker inspect; use {[f'{key}_FILE' for key in wrong]}"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_stay_on_this_host_unless_they_are_protected(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        bound = re.match(r"(\$\{[A-Z_]+:-)?127\.0\.0\.1", str(port))
        assert bound or name in ANSWERS_OUTSIDE_THE_HOST, f"{name}: {port} is open to the whole network"


def _on(network: str) -> set[str]:
    return {name for name, service in SERVICES.items() if network in service.get("networks", [])}


def test_the_port_of_the_broker_without_tls_is_reached_from_the_bus_only() -> None:
    assert COMPOSE["networks"]["bus"]["internal"]
    others = set(SERVICES["mosquitto"]["networks"]) - {"bus"}
    shared = {network: sorted(_on(network)) for network in others if _on(network) != {"mosquitto"}}
    assert not shared, f"1883 of mosquitto has no TLS: nothing may share these networks with it: {shared}"


def test_what_people_reach_from_outside_has_no_way_to_the_database_but_its_own() -> None:
    assert COMPOSE["networks"]["data"]["internal"]
    assert _on("edge") == {"alerts", "grafana"}
    assert "bus" not in SERVICES["grafana"]["networks"]


def test_the_database_shows_its_figures_to_nobody() -> None:
    assert SERVICES["influxdb"]["environment"]["INFLUXD_METRICS_DISABLED"] == "true"


@pytest.mark.parametrize("name", SERVICES)
def test_data_are_in_named_volumes(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        is_folder = str(mount).startswith((".", "/", "~", "${"))
        assert not is_folder or str(mount).endswith(":ro"), (
            f"{name}: {mount}: mount a folder of the host read-only; data go to a named volume"
        )


OURS = sorted(name for name, service in SERVICES.items() if ":-millrace/" in service["image"])


@pytest.mark.parametrize("name", OURS)
def test_our_own_images_are_looked_for_nowhere_else_unless_the_plant_says_where(name: str) -> None:
    """Otherwise whoever owns such a name on a public registry gets code run over all secrets."""
    assert SERVICES[name].get("pull_policy") == "${MILLRACE_PULL_POLICY:-never}", (
        f"{name}: Compose would try to pull its image first"
    )


def _builders() -> dict[str, list[str]]:
    """The services that build each image of ours."""
    builders: dict[str, list[str]] = defaultdict(list)
    for name in OURS:
        builders[SERVICES[name]["image"]] += [name] if "build" in SERVICES[name] else []
    return builders


def test_each_image_of_ours_is_built_by_one_service() -> None:
    """Compose builds at the same time; of two that build one tag, one can fail with "image already exists"."""
    wrong = {image: names for image, names in _builders().items() if len(names) != 1}
    assert not wrong, f"an image is built by exactly one service: {wrong}"


def test_the_service_that_builds_an_image_is_started_with_those_that_use_it() -> None:
    for name in OURS:
        (builder,) = _builders()[SERVICES[name]["image"]]
        assert "profiles" not in SERVICES[builder], f"{builder}: `up` would not build {SERVICES[name]['image']}"
        if name != builder and "profiles" not in SERVICES[name]:
            assert builder in SERVICES[name]["depends_on"], (
                f"{name}: `up {name}` alone would not build its image; wait for {builder}"
            )


def test_the_screens_have_memory_that_the_plant_can_change_and_answers_that_are_not_compressed() -> None:
    """Grafana keeps a little memory for each compressed answer that is cut off, as wall screens do at each refresh."""
    grafana = SERVICES["grafana"]
    assert grafana["mem_limit"] == "${MILLRACE_GRAFANA_MEMORY:-1g}"
    assert grafana["environment"]["GF_SERVER_ENABLE_GZIP"] == "false"


def test_one_version_of_grafana_is_spoken_of() -> None:
    (version,) = re.findall(r"grafana/grafana:([\d.]+)", SERVICES["grafana"]["image"])
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    texts = (
        path
        for path in listed
        if Path(path).suffix in {".md", ".py", ".yml", ".yaml", ".json", ".example"} and path != "CHANGELOG.md"
    )
    others = {
        (path, found)
        for path in texts
        for found in re.findall(
            r"(?i)grafana(?:/grafana:| |Version\W+)v?(\d+\.\d+(?:\.\d+)?)", (ROOT / path).read_text(encoding="utf-8")
        )
        if found not in {version, version.rpartition(".")[0]}
    }
    assert not others, f"docker-compose.yml runs Grafana {version}: {sorted(others)}"


def _backup(path: Path) -> Path:
    with gzip.open(path, "wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("influxdb-data/x", "gateway-data/outbox.sqlite", "admin-secrets/key"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return path


def _restore(folder: Path, *arguments: str, running: str = "") -> subprocess.CompletedProcess[str]:
    """scripts/restore without a terminal, with a Compose that cannot make anything."""
    compose = folder / "compose"
    compose.write_text(f"""#!/bin/sh
echo "$@" >> {folder}/asked
[ "$1" != ps ] || printf "%s" "{running}"
[ "$1" != up ] || {{ echo "target bootstrap: image already exists" >&2; exit 17; }}
""")
    compose.chmod(0o755)
    return subprocess.run(
        [str(ROOT / "scripts" / "restore"), *arguments],
        env=os.environ | {"COMPOSE": str(compose)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )


def test_restore_refuses_in_a_whole_sentence_before_it_asks_for_anything(tmp_path: Path) -> None:
    whole = _backup(tmp_path / "plant.tar.gz")
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:-20])
    (tmp_path / "letter").write_text("dear backup")
    cases: list[tuple[tuple[str, ...], str, int, str]] = [
        ((), "", 2, "which file? usage: scripts/restore FILE"),
        ((str(tmp_path / "none"),), "", 2, "none cannot be read"),
        ((str(tmp_path / "letter"),), "", 1, "letter is damaged or no backup"),
        ((str(cut),), "", 1, "is damaged: it was not written or copied to the end"),
        ((str(whole), "--settings", "mine"), "", 2, "--settings is saved or here, not 'mine'"),
        ((str(whole), "--force"), "", 2, "there is no --force; usage: "),
        ((str(whole), "--yes"), "c0ffee", 2, "the platform is running; stop it first (make down)"),
    ]
    for arguments, running, status, words in cases:
        done = _restore(tmp_path, *arguments, running=running)
        assert (done.returncode, done.stderr.count("\n")) == (status, 1), (arguments, done.stderr)
        assert done.stderr.startswith("restore: ")
        assert words in done.stderr
        assert done.stderr.endswith("; nothing was changed\n")
    assert {line.split()[0] for line in (tmp_path / "asked").read_text().splitlines()} == {"ps"}


def test_restore_says_why_compose_failed_and_changes_nothing(tmp_path: Path) -> None:
    done = _restore(tmp_path, str(_backup(tmp_path / "plant.tar.gz")), "--yes")
    assert done.returncode == 1
    assert "image already exists" in done.stderr
    assert "nothing was changed" in done.stderr
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "up --no-start"


def test_the_block_for_serial_ports_is_right_once_its_comment_signs_are_gone() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    opened = re.sub(r"^    # (devices:|  - \"/dev|group_add:)", r"    \1", text, flags=re.MULTILINE)
    gateway = yaml.safe_load(opened)["services"]["gateway"]
    (device,) = gateway["devices"]
    inside = device.partition(":")[2]
    assert f"serial_port: {inside}" in (ROOT / "docs" / "connect-a-serial-line.md").read_text(encoding="utf-8")
    assert gateway["group_add"] == ["20"]
    assert gateway.keys() - SERVICES["gateway"].keys() == {"devices", "group_add"}

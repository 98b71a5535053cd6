"""Every setting is documented where it is used: in its service's README, and in the compose file or .env.example."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml

from millrace_contract.runtime.settings import Settings, variable

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if path.name != "contract" and path.is_dir())
HEADINGS = ["What it does", "Reads and writes", "Configuration", "When things fail", "Code map"]


def _variables(service: str) -> dict[str, str]:
    """Variable -> description of every setting of a service."""
    module = importlib.import_module(f"millrace_{service}.settings")
    models = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings) and value.__module__ == module.__name__
    ]
    assert models, f"services/{service}: settings.py has no settings model"
    return {variable(name): field.description or "" for model in models for name, field in model.model_fields.items()}


def _readme(service: str) -> str:
    path = ROOT / "services" / service / "README.md"
    assert path.is_file(), f"services/{service} has no README.md; its headings are {HEADINGS}"
    return path.read_text(encoding="utf-8")


def _documented(text: str) -> set[str]:
    names = set(re.findall(r"MILLRACE_[A-Z0-9_]+", text))
    return names | {name.removesuffix("_FILE") for name in names}


@pytest.mark.parametrize("service", SERVICES)
def test_settings_say_what_they_are_for(service: str) -> None:
    silent = [name for name, description in _variables(service).items() if not description]
    assert not silent, f"give Field(description=...) to {silent}"


@pytest.mark.parametrize("service", SERVICES)
def test_readme_has_the_five_headings(service: str) -> None:
    found = re.findall(r"^## (.+)$", _readme(service), re.MULTILINE)
    assert [heading for heading in found if heading in HEADINGS] == HEADINGS


@pytest.mark.parametrize("service", SERVICES)
def test_readme_lists_every_setting_and_no_other(service: str) -> None:
    section = re.search(r"^## Configuration$(.*?)(?=^## |\Z)", _readme(service), re.MULTILINE | re.DOTALL)
    assert section, f"services/{service}/README.md has no section Configuration"
    listed = {name.removesuffix("_FILE") if name.removesuffix("_FILE") in _variables(service) else name
              for name in re.findall(r"`(MILLRACE_[A-Z0-9_]+)`", section[1])}  # fmt: skip
    known = set(_variables(service))
    assert listed >= known, f"services/{service}/README.md, Configuration: add {sorted(known - listed)}"
    assert listed <= known, f"services/{service}/README.md, Configuration: no setting is called {sorted(listed - known)}"


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_in_the_compose_file_or_in_env_example(service: str) -> None:
    given = _documented((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    explained = _documented((ROOT / ".env.example").read_text(encoding="utf-8"))
    missing = sorted(set(_variables(service)) - given - explained)
    assert not missing, f"a plant cannot find {missing}: add them to .env.example, or give them in docker-compose.yml"


def test_env_example_explains_every_variable_of_the_compose_file_and_no_other() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    used = {name for name, _ in re.findall(r"\$\{(MILLRACE_[A-Z0-9_]+)(:-[^}]*)?\}", compose)}
    explained = set(re.findall(r"^#?\s?(MILLRACE_[A-Z0-9_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE))
    assert used <= explained, f".env.example: add {sorted(used - explained)}"
    settings = {name for service in SERVICES for name in _variables(service)}
    unknown = explained - used - settings
    assert not unknown, f".env.example: nothing uses {sorted(unknown)}"


@pytest.mark.parametrize("service", SERVICES)
def test_the_compose_file_gives_only_variables_that_exist(service: str) -> None:
    entry = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"].get(service)
    if entry is None or service == "admin":  # admin's commands share one container with the tools of others
        return
    known = {name for own in _variables(service) for name in (own, f"{own}_FILE")}
    given = {name for name in entry.get("environment", {}) if name.startswith("MILLRACE_")}
    # The plant file may name variables of the plant's own, such as the simulator's address.
    plant = set(re.findall(r"\$\{([A-Z0-9_]+)", "".join(path.read_text() for path in (ROOT / "config").rglob("*.yaml"))))
    assert not given - known - plant, f"docker-compose.yml, {service}: no setting is called {sorted(given - known - plant)}"

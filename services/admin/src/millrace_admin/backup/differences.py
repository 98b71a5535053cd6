"""What a restore would change of what is here, said before it does: settings, the plant model, accounts and tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from ..broker_accounts import SERVICE_ROLES
from .layout import CONFIG, SETTINGS, VOLUMES

ACCOUNTS = f"{VOLUMES}/admin-secrets/accounts.json"
TOKENS = f"{VOLUMES}/alerts-secrets/api-tokens.json"
ACCEPTED = f"{VOLUMES}/admin-secrets/accepted-config"
"""The plant model that the platform ran on: what archives without a configuration of their own know of it."""
ENV = f"{SETTINGS}/env"
_READ_LIMIT_BYTES = 4 << 20
_SHOWN = 12

_T = TypeVar("_T")
Files = Mapping[str, bytes]
"""Content by path."""


class _Named(msgspec.Struct):
    """An account or a token, as far as it is known which it is."""

    name: str
    role: str = ""
    instance: str | None = None
    password_file: str | None = None
    password_hash: str = ""
    sha256: str = ""

    @property
    def identity(self) -> tuple[str, str]:
        return self.name, self.password_hash + self.sha256

    @property
    def is_ours(self) -> bool:
        """A service's own, which bootstrap sees to."""
        return self.password_file is not None or (self.role in SERVICE_ROLES and self.instance is None)


class _Tokens(msgspec.Struct):
    tokens: list[_Named]


def is_compared(path: str, size_bytes: int) -> bool:
    """Is the content of this member kept for the comparison?"""
    wanted = path in (ACCOUNTS, TOKENS) or path.startswith((f"{CONFIG}/", f"{SETTINGS}/", f"{ACCEPTED}/"))
    return wanted and not path.endswith("/") and size_bytes <= _READ_LIMIT_BYTES


def files_in(folder: Path | None, place: str) -> dict[str, bytes]:
    """The files of a folder as members of an archive would be called. Raises OSError."""
    if folder is None or not folder.is_dir():
        return {}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size <= _READ_LIMIT_BYTES]
    return {f"{place}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths}


def different_configuration(saved: Files, here: Files) -> list[str]:
    """What the plant model in the backup and the one here do not share; [] where they are the same, or there is only one.

    Only YAML is looked at: that is what services read.
    """
    wanted = _model(saved, CONFIG) or _model(saved, ACCEPTED)
    found = _model(here, CONFIG)
    if not wanted or not found:
        return []
    said = [f"{name}: only in the backup" for name in wanted.keys() - found.keys()]
    said += [f"{name}: only here" for name in found.keys() - wanted.keys()]
    said += [f"{name}: differs" for name in wanted.keys() & found.keys() if wanted[name] != found[name]]
    return sorted(said)


def different_settings(saved: Files, here: Files) -> list[str]:
    """The settings of .env whose values differ; [] where there is only one."""
    if ENV not in saved or ENV not in here:
        return []
    wanted, found = _settings(saved[ENV]), _settings(here[ENV])
    return [
        f"{name}: {_shown(found.get(name))} here, {_shown(wanted.get(name))} in the backup"
        for name in sorted(wanted.keys() | found.keys())
        if wanted.get(name) != found.get(name)
    ]


def different_access(saved: Files, here: Files) -> list[str]:
    """Accounts and tokens that work again after a restore, and those that are gone after it, in sentences."""
    said = []
    for what, path, read in (("broker account", ACCOUNTS, _accounts), ("API token", TOKENS, _tokens)):
        then, now = read(saved.get(path)), read(here.get(path))
        known = {each.identity for each in now}
        if again := sorted(each.name for each in then if each.identity not in known):
            why = "was revoked or changed since" if path in here else "nothing is here to compare with"
            said.append(f"{what} works again ({why}): {', '.join(again)}")
        if gone := sorted({each.name for each in now} - {each.name for each in then}):
            said.append(f"{what} is newer than the backup, and is gone then: {', '.join(gone)}")
    return said


def at_most(lines: Iterable[str]) -> list[str]:
    """So many that a person reads them."""
    every = list(lines)
    return [*every[:_SHOWN], f"and {len(every) - _SHOWN} more"] if len(every) > _SHOWN else every


def _model(files: Files, folder: str) -> dict[str, bytes]:
    return {
        path.removeprefix(f"{folder}/"): content
        for path, content in files.items()
        if path.startswith(f"{folder}/") and PurePosixPath(path).suffix in {".yaml", ".yml"}
    }


def _settings(text: bytes) -> dict[str, str]:
    lines = (line.strip() for line in text.decode(errors="replace").splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, _, value in pairs}


def _shown(value: str | None) -> str:
    return "not set" if value is None else f"{value!r}"


def _accounts(text: bytes | None) -> list[_Named]:
    return [each for each in _read(text, list[_Named]) or [] if not each.is_ours]


def _tokens(text: bytes | None) -> list[_Named]:
    found = _read(text, _Tokens)
    return [] if found is None else found.tokens


def _read(text: bytes | None, kind: type[_T]) -> _T | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError:
        return None

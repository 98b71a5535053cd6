"""`millrace access`: accounts and tokens for people, sensors and more gateways. Only hashes are kept; a password is shown once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from millrace_contract.errors import Refusal
from millrace_contract.language.api_tokens import SCOPES, ApiToken, decode_tokens, encode_tokens, token_hash
from millrace_contract.language.assets import segment_problem
from millrace_contract.plant import PlantModel

from ..authority import trusted
from ..bootstrap import (
    TOKENS_FILE,
    ensure_account,
    keep_rights,
    load_accounts,
    load_rights,
    render_broker_files,
    save_accounts,
)
from ..broker_accounts import Account, Role, hash_password, name_problem, topic_filter_problem
from ..own_accounts import BROKER_PASSWORD, INSTANCED, OwnAccount, instance_accounts
from ..secret_files import SecretFiles, new_password

TOKEN_LENGTH = 40


class GrantRefused(Refusal):
    """The request cannot be carried out; the text tells a person why and what to do instead."""


def add_publisher(files: SecretFiles, name: str, device: str, now: datetime, *, line: str | None = None) -> str:
    """A broker account that may publish what one device sends and nothing else; returns its password.

    A device that plant.yaml names with `transport: mqtt` sends on its topic there, one that it does not name sends telemetry.
    `line`: the only line below which it may; else each line of the plant model.
    """
    for what, segment in (("device", device), ("line", line)):
        if segment is not None and (problem := segment_problem(segment)):
            raise GrantRefused(f"{what} {segment!r} {problem}")
    rights = load_rights(files)
    if device in rights.devices and device not in rights.sensors:
        raise GrantRefused(f"device {device} is in plant.yaml, so a gateway reads it; a publisher needs a device id of its own")
    _check_name(files, name)
    return _add_account(files, name, now, role=Role.PUBLISHER, device=device, line=line)


def add_bridge(files: SecretFiles, name: str, topic_filter: str, now: datetime) -> str:
    """A broker account for what passes on many sensors: it may write these topics and nothing else; returns its password."""
    if problem := topic_filter_problem(topic_filter, _root(files)):
        raise GrantRefused(f"topic {topic_filter!r} {problem}")
    _check_name(files, name)
    return _add_account(files, name, now, role=Role.PUBLISHER, topic=topic_filter)


def add_reader(files: SecretFiles, name: str, now: datetime) -> str:
    """A broker account that may read what machines and services tell of the plant, and publish nothing; returns its password."""
    _check_name(files, name)
    return _add_account(files, name, now, role=Role.READER)


def topics_of(files: SecretFiles, device: str) -> tuple[str, ...]:
    """What a device of plant.yaml with `transport: mqtt` sends on; none for any other."""
    return load_rights(files).sensors.get(device, ())


def add_gateway(files: SecretFiles, instance: str, now: datetime, plant: PlantModel | None = None) -> tuple[str, str]:
    """A broker account for one more gateway; returns its user name and password.

    `plant`: the model that it is to run on, where that may be newer than the last start's: its devices are the gateway's now.
    """
    if problem := segment_problem(instance):
        raise GrantRefused(f"instance {instance!r} {problem}")
    name = f"gateway-{instance}"
    if plant is not None:
        with _changing(files):
            _check_free(files, name)
            keep_rights(files, plant)
    return name, _add_account(files, name, now, role=Role.GATEWAY, instance=instance)


def add_instance(files: SecretFiles, service: str, instance: str, now: datetime) -> tuple[OwnAccount, str]:
    """An account for one more instance of a service; returns it and its password.

    The password stands in a file beside that of the first instance, too, for a container on this server.
    """
    if service not in INSTANCED:
        raise GrantRefused(f"{service!r} is no service with instances; there are: {', '.join(INSTANCED)}")
    if problem := segment_problem(instance):
        raise GrantRefused(f"instance {instance!r} {problem}")
    made = instance_accounts(Role(service), instance)
    with _changing(files):
        accounts = load_accounts(files)
        for own in made:
            _check_free(files, own.name)
        passwords = [ensure_account(files, accounts, own, now) for own in made]
        save_accounts(files, accounts.values())
        render_broker_files(files, _root(files), accounts.values())
    return made[0], passwords[0]


def add_token(files: SecretFiles, name: str, scopes: Sequence[str], now: datetime) -> str:
    """A token for the REST interface; returns it."""
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise GrantRefused(f"scope {', '.join(unknown)} does not exist; there are: {', '.join(SCOPES)}")
    if not scopes:
        raise GrantRefused(f"a token needs at least one scope of: {', '.join(SCOPES)}")
    with _changing(files):
        _check_free(files, name)
        token = f"mr_{new_password(TOKEN_LENGTH)}"
        entry = ApiToken(name=name, sha256=token_hash(token), scopes=tuple(dict.fromkeys(scopes)), created=_stamp(now))
        _save_tokens(files, [*load_tokens(files), entry])
    return token


def revoke(files: SecretFiles, name: str) -> str:
    """Take an account or a token away; returns what it was."""
    with _changing(files):
        tokens = load_tokens(files)
        if any(token.name == name for token in tokens):
            _save_tokens(files, [token for token in tokens if token.name != name])
            return "API token"
        accounts = load_accounts(files)
        if name not in accounts:
            raise GrantRefused(f"there is nothing called {name!r}; `millrace access list` shows what there is")
        gone = accounts.pop(name)
        file = gone.password_file
        if name == gone.role or (file and not file.partition("/")[2].startswith(f"{BROKER_PASSWORD}.")):
            raise GrantRefused(f"{name} is the platform's own account; it does not work without it")
        if file:
            accounts = {other: account for other, account in accounts.items() if account.password_file != file}
            files.path(*file.split("/")).unlink(missing_ok=True)
        save_accounts(files, accounts.values())
        render_broker_files(files, _root(files), accounts.values())
        return f"broker account ({gone.role})"


def load_tokens(files: SecretFiles) -> list[ApiToken]:
    """The API tokens, oldest first."""
    text = files.read("alerts", TOKENS_FILE)
    return decode_tokens(text.encode()) if text else []


def first_password(files: SecretFiles) -> str:
    """The password with which `admin` first logs in to Grafana."""
    password = files.read("grafana", "admin_password")
    if password is None:
        raise GrantRefused("nothing is set up yet; start the platform first")
    return password


def authority(files: SecretFiles) -> str:
    """What publishers outside must trust, PEM: two certificates while one authority takes the place of the other."""
    certificate = trusted(files)
    if certificate is None:
        raise GrantRefused("nothing is set up yet; start the platform first")
    return certificate


def _add_account(
    files: SecretFiles,
    name: str,
    now: datetime,
    *,
    role: Role,
    device: str | None = None,
    instance: str | None = None,
    line: str | None = None,
    topic: str | None = None,
) -> str:
    with _changing(files):
        _check_free(files, name)
        password = new_password()
        accounts = load_accounts(files)
        accounts[name] = Account(name, role, hash_password(password), _stamp(now), device, instance, line, topic=topic)
        save_accounts(files, accounts.values())
        render_broker_files(files, _root(files), accounts.values())
    return password


@contextmanager
def _changing(files: SecretFiles) -> Iterator[None]:
    if files.read("admin", "root") is None:
        raise GrantRefused("nothing is set up yet; start the platform first")
    with files.locked():
        yield


def _check_name(files: SecretFiles, name: str) -> None:
    if name not in load_accounts(files) and (problem := name_problem(name)):
        raise GrantRefused(f"name {name!r} {problem}")


def _check_free(files: SecretFiles, name: str) -> None:
    if problem := segment_problem(name):
        raise GrantRefused(f"name {name!r} {problem}")
    if name in load_accounts(files) or any(token.name == name for token in load_tokens(files)):
        raise GrantRefused(f"{name!r} exists already; choose another name, or `millrace access revoke {name}` first")


def _save_tokens(files: SecretFiles, tokens: list[ApiToken]) -> None:
    files.write("alerts", TOKENS_FILE, encode_tokens(tokens).decode())


def _root(files: SecretFiles) -> str:
    root = files.read("admin", "root")
    if root is None:
        raise GrantRefused("nothing is set up yet; start the platform first")
    return root


def _stamp(now: datetime) -> str:
    return f"{now:%Y-%m-%dT%H:%M:%SZ}"

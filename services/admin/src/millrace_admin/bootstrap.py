"""`millrace bootstrap`: everything that must exist before a container starts. Keeps what is there, adds what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from millrace_contract.errors import Refusal
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.plant.accepted import load_accepted

from .authority import ensure
from .backup.layout import NOTE
from .broker_accounts import (
    FROM_OUTSIDE,
    Account,
    Rights,
    hash_password,
    name_problem,
    password_matches,
    render_access_rules,
    render_passwords,
)
from .own_accounts import HEALTHCHECK_OPTIONS, OwnAccount, outdated, own_accounts
from .secret_files import SecretFiles, new_password

ACCOUNTS_FILE = "accounts.json"
TOKENS_FILE = "api-tokens.json"
RIGHTS_FILE = "rights.json"
SPEAKERS_FILE = "speakers.json"
RULES_FILE = "access.acl"
DATABASE_TOKEN = "influx_token"  # noqa: S105 - the name of a file


class BootstrapReport:
    """What was done, in words for the log; never a secret."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.warnings: list[str] = []


def bootstrap(
    files: SecretFiles, config: Path, hostnames: str, now: datetime, own: Sequence[OwnAccount] | None = None
) -> BootstrapReport:
    """Bring all secrets up to date. `own`: the platform's own accounts, where other instances run than by default.

    Raises ConfigurationProblems when there is no usable plant model, not even an older one.
    """
    report = BootstrapReport()
    if files.path("admin", NOTE).exists():
        raise Refusal(
            "a restore was cut off while it put the data in place, so nothing starts; finish it: scripts/restore --finish"
        )
    files.prepare()
    with files.locked():
        plant = _plant(files, config, report)
        report.done += ensure(files, hostnames, now)
        accounts = _accounts(files, own_accounts() if own is None else own, now, report)
        keep_rights(files, plant)
        render_broker_files(files, plant.root, accounts, report)
        report.warnings += _misfits(accounts, plant)
        _screens(files, plant, report)
        files.ensure("alerts", TOKENS_FILE, lambda: '{"tokens": []}')
        files.ensure("admin", "influx_admin_password")
        files.ensure("admin", DATABASE_TOKEN)
    return report


def load_accounts(files: SecretFiles) -> dict[str, Account]:
    """The broker accounts by name."""
    text = files.read("admin", ACCOUNTS_FILE)
    accounts = msgspec.json.decode(text, type=list[Account]) if text else []
    return {account.name: account for account in accounts}


def save_accounts(files: SecretFiles, accounts: Iterable[Account]) -> None:
    """Keep the accounts; the broker learns of them with `render_broker_files`."""
    files.write("admin", ACCOUNTS_FILE, msgspec.json.format(msgspec.json.encode(list(accounts))).decode() + "\n")


def load_rights(files: SecretFiles) -> Rights:
    """What all accepted plant models say about who may write what. They lie with the broker; once they lay with `admin`."""
    text = files.read("mosquitto", RIGHTS_FILE) or files.read("admin", RIGHTS_FILE)
    return msgspec.json.decode(text, type=Rights) if text else Rights()


def keep_rights(files: SecretFiles, plant: PlantModel) -> None:
    """What this plant model says, too; the broker learns of it with `render_broker_files`."""
    with files.locked("mosquitto"):
        add_rights(files, plant)


def forget_gateway(files: SecretFiles, instance: str) -> None:
    """What it read once is not its to send any more: an account of that name begins with what the plant model gives it."""
    with files.locked("mosquitto"):
        files.write("mosquitto", RIGHTS_FILE, _encoded(load_rights(files).without_gateway(instance)))


def render_broker_files(files: SecretFiles, root: str, accounts: Iterable[Account], report: BootstrapReport | None = None) -> None:
    """The broker's password and access rule files, as the accounts say. A running broker reads them within seconds."""
    accounts = list(accounts)
    with files.locked("mosquitto"):
        # First the rules: a new account must never be seen by the broker without them.
        changed = files.write("mosquitto", RULES_FILE, render_access_rules(root, accounts, load_rights(files)))
        changed |= files.write("mosquitto", "passwords", render_passwords(accounts))
        files.write("mosquitto", SPEAKERS_FILE, _encoded(Speakers(root, [each.without_password for each in accounts])))
    files.write("admin", "root", root + "\n")
    if changed and report is not None:
        report.done.append("broker accounts and access rules rendered")


class Speakers(msgspec.Struct, frozen=True):
    """Whom the access rules are for: of the accounts no password, not even a hash. For `access follow`."""

    root: str
    accounts: list[Account]


def add_rights(files: SecretFiles, plant: PlantModel) -> None:
    """`keep_rights` for who holds the lock of the broker's files."""
    files.write("mosquitto", RIGHTS_FILE, _encoded(load_rights(files).with_plant(plant)))


def _encoded(content: msgspec.Struct) -> str:
    return msgspec.json.encode(content, order="sorted").decode() + "\n"


def _plant(files: SecretFiles, config: Path, report: BootstrapReport) -> PlantModel:
    accepted = load_accepted(config, files.root / "admin", load_plant)
    if accepted.problems:
        report.warnings.append(
            f"the plant model has {len(accepted.problems)} problem(s), so the last good one is used; `millrace check` shows them"
        )
    return accepted.model


def _misfits(accounts: Iterable[Account], plant: PlantModel) -> list[str]:
    """Accounts from outside that the plant model, or the way in from outside, leaves no room for."""
    said = []
    for account in accounts:
        if account.role not in FROM_OUTSIDE:
            continue
        if account.device in plant.devices and not plant.topics_of(account.device):
            said.append(
                f"account {account.name} is for device {account.device}, which a gateway reads now: it may not publish any more"
            )
        if problem := name_problem(account.name):
            said.append(f"account {account.name} {problem}: revoke it, and add one of another name")
    return said


def _accounts(files: SecretFiles, own: Sequence[OwnAccount], now: datetime, report: BootstrapReport) -> list[Account]:
    accounts = load_accounts(files)
    for name in outdated(accounts):
        del accounts[name]
        report.done.append(f"broker account {name} taken away: each instance of {name} has one of its own")
    places = {account.password_file: account.name for account in reversed(own)}
    for account in list(accounts.values()):
        if account.password_file in places and account.name not in {one.name for one in own}:
            del accounts[account.name]
            report.done.append(f"broker account {account.name} taken away: {places[account.password_file]} is in its place")
    for one in own:
        present = accounts.get(one.name)
        if present is not None and present.password_file is None and present.name != present.role:
            report.warnings.append(
                f"account {one.name} was added for a {one.role} elsewhere, so the {one.role} of this server has none: where it "
                f"runs, give it another MILLRACE_GATEWAY_INSTANCE, or take the other away (millrace access revoke {one.name})"
            )
            continue
        ensure_account(files, accounts, one, now, report)
    # Those of `millrace access add-instance`: a file that was deleted is made anew, as with all others.
    for account in list(accounts.values()):
        if account.password_file and account.name not in {one.name for one in own}:
            folder, _, file = account.password_file.partition("/")
            ensure_account(files, accounts, OwnAccount(account.name, account.role, account.instance, folder, file), now, report)
    save_accounts(files, accounts.values())
    return list(accounts.values())


def ensure_account(
    files: SecretFiles, accounts: dict[str, Account], own: OwnAccount, now: datetime, report: BootstrapReport | None = None
) -> str:
    """Bring the file of the password and the account in `accounts` into being, and into agreement. Returns the password."""
    password = _password(files, own)
    present = accounts.get(own.name)
    if present is None or not password_matches(password, present.password_hash):
        accounts[own.name] = Account(
            own.name,
            own.role,
            hash_password(password),
            f"{now:%Y-%m-%dT%H:%M:%SZ}",
            instance=own.instance,
            password_file=own.password_file,
        )
        if report is not None:
            report.done.append(f"broker account {own.name} made")
    elif present.password_file is None:  # of a version that did not note it
        accounts[own.name] = msgspec.structs.replace(present, password_file=own.password_file)
    return password


def _password(files: SecretFiles, own: OwnAccount) -> str:
    if own.file != HEALTHCHECK_OPTIONS:
        return files.ensure(own.folder, own.file)
    options = files.ensure(own.folder, own.file, lambda: f"-u {own.name}\n-P {new_password()}")
    return options.rpartition("-P ")[2]


def passwords_fit(files: SecretFiles, accounts: Mapping[str, Account]) -> dict[str, bool]:
    """By account of the platform's own: whether the password in its file is that of the account. Makes nothing."""
    held = {name: files.read(*account.password_file.split("/", 1)) for name, account in accounts.items() if account.password_file}
    return {
        name: password is not None and password_matches(password.rpartition("-P ")[2], accounts[name].password_hash)
        for name, password in held.items()
    }


def _screens(files: SecretFiles, plant: PlantModel, report: BootstrapReport) -> None:
    files.ensure("grafana", "admin_password")
    files.ensure("grafana", "secret_key")
    if files.write("grafana", "time_zone", plant.time_zone + "\n"):
        report.done.append(f"time zone of the screens set to {plant.time_zone}")

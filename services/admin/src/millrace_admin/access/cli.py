"""The `millrace access` part of the command line: what it takes and what a person reads."""

from __future__ import annotations

import argparse
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from millrace_contract.language.api_tokens import SCOPES
from millrace_contract.plant import PlantModel, load_plant
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import EXIT_WELL, stop_event
from millrace_contract.runtime.settings import load_settings
from millrace_contract.runtime.tables import aligned

from ..bootstrap import load_accounts
from ..broker_accounts import Account, Role
from ..secret_files import SecretFiles
from ..settings import AdminSettings
from . import grants, renewal, scrapped
from .follow import PlantFollower, follow
from .gateway_kit import GatewayAccess, broker_name, pack


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> list[argparse.ArgumentParser]:
    """Add `access` and its verbs; returns the parsers that take the common arguments."""
    parser = commands.add_parser("access", help="first passwords, broker accounts and API tokens")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    made = []

    def verb(name: str, action: object, text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text)
        added.add_argument("--secrets", metavar="DIR", help="folder of all secrets (default: MILLRACE_SECRETS)")
        added.add_argument("--keep-owner", action="store_true", help="leave files to whoever runs this (no containers)")
        added.set_defaults(command=action)
        made.append(added)
        return added

    verb("show", _show, "addresses and the first password of the screens")
    verb("ca", _ca, "the certificate that publishers outside must trust")
    verb("new-ca", _new_ca, "make the next certificate authority, trusted beside the present one until use-new-ca")
    use = verb("use-new-ca", _use_new_ca, "let the next authority sign, once every gateway trusts it")
    use.add_argument("--anyway", action="store_true", help="without asking who trusts it")
    verb("list", _list, "accounts and tokens")
    publisher = verb("add-publisher", _add_publisher, "a broker account for a device that sends by itself, or a bridge of many")
    publisher.add_argument("name", metavar="NAME", help="user name")
    sends = publisher.add_mutually_exclusive_group(required=True)
    sends.add_argument("--device", metavar="ID", help="the only device it may send for")
    sends.add_argument("--topic", metavar="FILTER", help="the only topics that a bridge may write, as zigbee2mqtt/#")
    publisher.add_argument("--line", metavar="NAME", help="the only line below which it may send (default: each of plant.yaml)")
    reader = verb("add-reader", _add_reader, "a broker account that may only read, for an MES or another program")
    reader.add_argument("name", metavar="NAME", help="user name")
    gateway = verb("add-gateway", _add_gateway, "a broker account for one more gateway")
    gateway.add_argument("instance", metavar="INSTANCE", help="the gateway's MILLRACE_INSTANCE, as plant.yaml names it")
    gateway.add_argument("--host", metavar="NAME", help="name of this server for that gateway (default: MILLRACE_HOSTNAME's first)")
    gateway.add_argument(
        "--kit",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write all that deploy/edge/install needs as a tar file (- or none: stdout)",
    )
    removed = verb("remove-gateway", _remove_gateway, "clear what a scrapped gateway left here and at the broker")
    removed.add_argument("instance", metavar="INSTANCE", help="its MILLRACE_INSTANCE, which plant.yaml names no more")
    instance = verb("add-instance", _add_instance, "a broker account for one more instance of a service")
    instance.add_argument("service", metavar="SERVICE", help="ingest, oee, alerts, rollup, simulator, or a gateway on this server")
    instance.add_argument("instance", metavar="INSTANCE", help="its MILLRACE_INSTANCE")
    token = verb("add-token", _add_token, "a token for the REST interface")
    token.add_argument("name", metavar="NAME", help="who uses it")
    token.add_argument("--scope", required=True, metavar="SCOPES", help=f"comma-separated; of {', '.join(SCOPES)}")
    verb("follow", _follow, "keep the broker's access rules as the plant model asks, until stopped (a service of the compose file)")
    revoke = verb("revoke", _revoke, "take an account or a token away")
    revoke.add_argument("name", metavar="NAME")
    return made


def _show(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    name = settings.outside_name if settings.http_listen not in {"127.0.0.1", "localhost", "::1"} else "localhost"
    shown = {
        "screens": f"http://{name}:{settings.grafana_port}",
        "user": "admin",
        "password": grants.first_password(files),
        "api": f"http://{name}:{settings.api_port}",
        "broker": f"{settings.outside_name}:{settings.mqtt_tls_port}",
    }
    notes = {
        "user": "to edit the screens; watching needs no account",
        "api": "REST interface and operator page; tokens: millrace access add-token",
        "broker": "TLS; accounts: millrace access add-publisher",
    }
    return _print(options, "", shown, notes)


def _ca(options: argparse.Namespace) -> int:
    _, files = _opened(options)
    certificate = grants.authority(files)
    print(json.dumps({"ca": certificate + "\n"}) if options.json else certificate)
    return EXIT_WELL


def _new_ca(options: argparse.Namespace) -> int:
    _, files = _opened(options)
    shown = {"next authority": renewal.make_next(files, _now())}
    if options.json:
        return _print(options, "", shown, {})
    hands = renewal.by_hand(files)
    _print(options, "made, and announced by the broker within seconds", shown, {})
    print("Gateways and services learn it when they connect to the broker the next time: docker compose restart mosquitto")
    print("makes all of them. `millrace access ca` and new kits hold both authorities.", end=" ")
    print(f"Give both to the sensors: {', '.join(hands)}." if hands else "There are no sensors to give it to.")
    print("Then: millrace access use-new-ca")
    return EXIT_WELL


def _use_new_ca(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    root = files.read("admin", "root") or ""
    heard = None if options.anyway else renewal.heard_statuses(files, settings, root)
    shown = {"authority": renewal.use_next(files, _now(), heard)}
    return _print(options, "the broker's certificate is of the next authority within seconds; new kits hold it alone", shown, {})


def _list(options: argparse.Namespace) -> int:
    _, files = _opened(options)
    rows = [
        {"name": each.name, "kind": "broker account", "for": _purpose(each), "since": each.created}
        for each in load_accounts(files).values()
    ]
    rows += [
        {"name": token.name, "kind": "API token", "for": ",".join(token.scopes), "since": token.created}
        for token in grants.load_tokens(files)
    ]
    if options.json:
        print("\n".join(json.dumps(row) for row in rows))
    else:
        print(aligned(("name", "kind", "for", "since"), [list(row.values()) for row in rows]))
    return EXIT_WELL


def _purpose(account: Account) -> str:
    if account.device or account.topic:
        return f"device {account.device}" if account.device else f"topic {account.topic}"
    if account.role is Role.READER:
        return "reading"
    return f"instance {account.instance}" if account.instance else "platform"


def _add_publisher(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    if options.topic is not None:
        if options.line is not None:
            raise grants.GrantRefused("--line is for a device that sends telemetry; leave it out beside --topic")
        password = grants.add_bridge(files, options.name, options.topic, _now())
        topic = options.topic
    else:
        password = grants.add_publisher(files, options.name, options.device, _now(), line=options.line)
        telemetry = f"{files.read('admin', 'root')}/{options.line or 'LINE'}/{options.device}/telemetry"
        topic = ", ".join(grants.topics_of(files, options.device)) or telemetry
    shown = {"user": options.name, "password": password, "broker": f"{settings.outside_name}:{settings.mqtt_tls_port}"}
    notes = {"password": "shown only now", "broker": "TLS; trust the certificate that `millrace access ca` prints"}
    return _print(options, f"{options.name} may publish to {topic} and nothing else", shown, notes)


def _add_reader(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    shown = {
        "user": options.name,
        "password": grants.add_reader(files, options.name, _now()),
        "broker": f"{settings.outside_name}:{settings.mqtt_tls_port}",
    }
    notes = {"password": "shown only now", "broker": "TLS; trust the certificate that `millrace access ca` prints"}
    return _print(options, f"{options.name} may read what the plant tells, below {files.read('admin', 'root')}", shown, notes)


def _add_gateway(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    host = broker_name(files, settings.hostname, options.host)
    if options.kit is None:
        access = _gateway_account(files, options.instance, host, settings.mqtt_tls_port)
        _print_gateway(access, as_json=options.json)
        return EXIT_WELL
    plant = load_plant(settings.config)
    with _kit_file(options.kit) as out:
        access = _gateway_account(files, options.instance, host, settings.mqtt_tls_port, plant)
        try:
            out.write(pack(access, settings.config, _now()))
            out.flush()
        except OSError as error:
            grants.revoke(files, access.username)
            raise grants.GrantRefused(f"the kit cannot be written: {error.strerror or error}. Nothing was changed") from error
    said = (
        f"gateway {access.instance}: the kit holds its password; delete it once the gateway runs. It will call {host}:{access.port}"
    )
    print(said, file=sys.stderr)
    if not any(device.gateway == access.instance for device in plant.devices.values()):
        print(f"WARNING: no device of plant.yaml names gateway {access.instance} yet, so it has nothing to read", file=sys.stderr)
    return EXIT_WELL


def _remove_gateway(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    plant = load_plant(settings.config)
    heard = renewal.heard_statuses(files, settings, plant.root)
    scrapped.check_scrapped(files, options.instance, plant, heard)
    cleared = scrapped.remove_gateway(files, settings, plant.root, options.instance, _now())
    title = f"gateway {options.instance} is gone: account, rights and session, and {len(cleared)} retained topics at the broker"
    return _print(options, title, {"removed": options.instance} if options.json else {}, {})


def _add_instance(options: argparse.Namespace) -> int:
    _, files = _opened(options)
    account, password = grants.add_instance(files, options.service, options.instance, _now())
    shown = {
        "MILLRACE_INSTANCE": options.instance,
        "MILLRACE_MQTT_PASSWORD_FILE": f"/run/secrets/millrace/{account.file}",
        "account": account.name,
        "password": password,
    }
    notes = {
        "MILLRACE_MQTT_PASSWORD_FILE": f"on this server, with the volume {account.folder}-secrets",
        "account": "its client id, and so its name: MILLRACE_MQTT_USERNAME can be left out",
        "password": "for an instance on another server, in a file there; shown only now",
    }
    return _print(options, f"{options.service}, one more instance: its environment", shown, notes)


def _gateway_account(files: SecretFiles, instance: str, host: str, port: int, plant: PlantModel | None = None) -> GatewayAccess:
    name, password = grants.add_gateway(files, instance, _now(), plant)
    return GatewayAccess(instance, host, port, name, password, grants.authority(files))


@contextmanager
def _kit_file(name: str) -> Iterator[BinaryIO]:
    """A new file that only its maker can read, or standard output; opened before anything changes."""
    if name == "-":
        if sys.stdout.isatty():
            raise grants.GrantRefused("a kit is a tar file with a password in it, nothing for a terminal: name a file")
        if stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
            os.fchmod(sys.stdout.fileno(), 0o600)
        yield sys.stdout.buffer
        return
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise grants.GrantRefused(f"{name} exists already; choose another name") from error
    with os.fdopen(descriptor, "wb") as out:
        try:
            yield out
        except BaseException:
            Path(name).unlink()
            raise


def _print_gateway(access: GatewayAccess, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**access.environment, "MILLRACE_MQTT_PASSWORD": access.password, "ca": access.authority + "\n"}))
        return
    print(f"gateway {access.instance}: its environment\n")
    for name, value in access.environment.items():
        print(f"{name}={value}")
    print(f"""MILLRACE_MQTT_PASSWORD_FILE=/etc/millrace/secrets/mqtt_password
MILLRACE_MQTT_CA=/etc/millrace/ca.crt

and its files
  /etc/millrace/secrets/mqtt_password   {access.password}   (shown only now)
  /etc/millrace/ca.crt                  what `millrace access ca` prints
  /etc/millrace/config/                 plant.yaml and profiles/ of the plant

With --kit all of it comes as one file for deploy/edge/install.""")


def _add_token(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    scopes = [scope.strip() for scope in options.scope.split(",") if scope.strip()]
    token = grants.add_token(files, options.name, scopes, _now())
    notes = {"token": "shown only now", "header": f"Authorization: Bearer TOKEN, to http://HOST:{settings.api_port}/v1/"}
    shown = {"name": options.name, "token": token, "scopes": ",".join(scopes)}
    return _print(options, "", shown, notes)


def _revoke(options: argparse.Namespace) -> int:
    _, files = _opened(options)
    kind = grants.revoke(files, options.name)
    return _print(options, f"{kind} {options.name} revoked", {"revoked": options.name} if options.json else {}, {})


def _follow(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    follower = PlantFollower(files, settings.config)
    follow(follower, SystemClock(), stop_event(), _tell, host=settings.http_host, port=settings.http_port)
    return EXIT_WELL


def _tell(text: str) -> None:
    print(text, flush=True)


def _print(options: argparse.Namespace, title: str, shown: Mapping[str, str], notes: Mapping[str, str]) -> int:
    if options.json:
        print(json.dumps(dict(shown)))
        return EXIT_WELL
    if title:
        print(title)
    width = max((len(key) for key in shown), default=0)
    for key, value in shown.items():
        note = f"   ({notes[key]})" if key in notes else ""
        print(f"  {key:<{width}}  {value}{note}")
    return EXIT_WELL


def _opened(options: argparse.Namespace) -> tuple[AdminSettings, SecretFiles]:
    settings = load_settings(AdminSettings, os.environ, config=options.config, secrets=options.secrets)
    return settings, SecretFiles(settings.secrets, give_away=os.geteuid() == 0 and not options.keep_owner)


def _now() -> datetime:
    return datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC)

"""The `millrace access` part of the command line: what it takes and what a person reads."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime

from millrace_contract.api_tokens import SCOPES
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import EXIT_WELL
from millrace_contract.runtime.settings import load_settings

from ..bootstrap import load_accounts
from ..secret_files import SecretFiles
from ..settings import AdminSettings
from . import grants


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
    verb("list", _list, "accounts and tokens")
    publisher = verb("add-publisher", _add_publisher, "a broker account for one device that sends its own telemetry")
    publisher.add_argument("name", metavar="NAME", help="user name")
    publisher.add_argument("--device", required=True, metavar="ID", help="the only device it may send for")
    gateway = verb("add-gateway", _add_gateway, "a broker account for one more gateway")
    gateway.add_argument("instance", metavar="INSTANCE", help="the gateway's MILLRACE_INSTANCE, as plant.yaml names it")
    token = verb("add-token", _add_token, "a token for the REST interface")
    token.add_argument("name", metavar="NAME", help="who uses it")
    token.add_argument("--scope", required=True, metavar="SCOPES", help=f"comma-separated; of {', '.join(SCOPES)}")
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


def _list(options: argparse.Namespace) -> int:
    _, files = _opened(options)
    rows = [
        {"name": each.name, "kind": "broker account", "for": _purpose(each.device, each.instance), "since": each.created}
        for each in load_accounts(files).values()
    ]
    rows += [
        {"name": token.name, "kind": "API token", "for": ",".join(token.scopes), "since": token.created}
        for token in grants.load_tokens(files)
    ]
    for row in rows:
        print(json.dumps(row) if options.json else f"{row['name']:<24} {row['kind']:<15} {row['for']:<24} {row['since']}")
    return EXIT_WELL


def _purpose(device: str | None, instance: str | None) -> str:
    if device:
        return f"device {device}"
    return f"gateway {instance}" if instance else "service"


def _add_publisher(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    password = grants.add_publisher(files, options.name, options.device, _now())
    shown = {"user": options.name, "password": password, "broker": f"{settings.outside_name}:{settings.mqtt_tls_port}"}
    topic = f"{files.read('admin', 'root')}/LINE/{options.device}/telemetry"
    notes = {"password": "shown only now", "broker": "TLS; trust the certificate that `millrace access ca` prints"}
    return _print(options, f"{options.name} may publish to {topic} and nothing else", shown, notes)


def _add_gateway(options: argparse.Namespace) -> int:
    settings, files = _opened(options)
    name, password = grants.add_gateway(files, options.instance, _now())
    shown = {
        "MILLRACE_INSTANCE": options.instance,
        "MILLRACE_MQTT_HOST": settings.outside_name,
        "MILLRACE_MQTT_PORT": str(settings.mqtt_tls_port),
        "MILLRACE_MQTT_USERNAME": name,
        "MILLRACE_MQTT_PASSWORD": password,
    }
    notes = {
        "MILLRACE_MQTT_HOST": "MILLRACE_MQTT_CA: a file with what `millrace access ca` prints",
        "MILLRACE_MQTT_PASSWORD": "shown only now",
    }
    return _print(options, f"gateway {options.instance}: its environment", shown, notes)


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

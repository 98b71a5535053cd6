"""One file for who helps from outside: what doctor gathered and found, and the parts' last words; no secrets, no names of people.

What is not known to be public is taken for a secret. Of plant.yaml there are ids only: titles and tags are the plant's own.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from millrace_contract.errors import CannotStart
from millrace_contract.language.api_tokens import decode_tokens
from millrace_contract.language.times import format_timestamp

from ..broker_accounts import FROM_OUTSIDE, Account
from .evidence import Evidence
from .finding import Finding

SECRET, PERSON = "(secret)", "(person)"
PUBLIC = frozenset(
    {"ca.crt", "server.crt", "access.acl", "rights.json", "speakers.json", "root", "time_zone", ".lock"}
)  # fmt: skip
"""Files of the secrets folder that anybody may read. `accepted-config` is the plant's model, and is not looked into either."""
SHORTEST = 6
"""A shorter word of a secret file is an option, or stands in any text."""
OF_PEOPLE = frozenset({"actor", "acked_by", "by", "comment", "person", "user", "name", "remark"})
"""Keys in logs whose values are what a person is called, or wrote."""
_SHAPES = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), SECRET),
    (re.compile(r"(?i)\b(Bearer|Token|Basic) +[\w.~+/=-]{8,}"), rf"\1 {SECRET}"),
    (re.compile(r"(?i)(password|passwd|secret|token)([\"']?\s*[=:]\s*[\"']?)(?!\()[^\s\"',;]{4,}"), rf"\1\2{SECRET}"),
    # A password of ours that was shown once, of which only the hash is kept: one in fifty has no digit.
    (re.compile(r"\b(?=\w*[a-z])(?=\w*[A-Z])[A-Za-z0-9]{24}\b"), SECRET),
    (re.compile(r"\b[0-9a-f]{64}\b"), SECRET),
    (re.compile(r"\bmr_\w{20,}"), SECRET),
    (re.compile(r"\$\d\$\d+\$[\w+/=]+\$[\w+/=]+"), SECRET),
    (re.compile(r"(://)[^/\s@]+@"), rf"\1{SECRET}@"),
    (re.compile(r"/(home|Users)/[^/\s\"']+"), rf"/\1/{PERSON}"),
    (re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b"), PERSON),
)  # fmt: skip


class Scrubber:
    """Takes known secrets and names out of texts, and what looks like one."""

    def __init__(self, secrets: Iterable[str], names: Iterable[str]) -> None:
        # The longest first: one may be a part of another.
        self._secrets = sorted(filter(None, set(secrets)), key=len, reverse=True)
        known = sorted(filter(None, set(names)), key=len, reverse=True)
        self._names = re.compile(rf"(?i)(?<![\w-])(?:{'|'.join(map(re.escape, known))})(?![\w-])") if known else None

    def text(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, SECRET)
        for shape, instead in _SHAPES:
            text = shape.sub(instead, text)
        return text if self._names is None else self._names.sub(PERSON, text)

    def scrubbed(self, value: Any) -> Any:
        """The same for everything in a document."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self.scrubbed(each) for key, each in value.items()}
            case list() | tuple():
                return [self.scrubbed(each) for each in value]
            case _:
                return value

    def log_line(self, line: str) -> str:
        """What people are called and wrote stands under keys of its own in a structured log."""
        try:
            fields = json.loads(line)
        except ValueError:
            return self.text(line)
        if not isinstance(fields, dict):
            return self.text(line)
        kept = {key: PERSON if key in OF_PEOPLE else value for key, value in fields.items()}
        return json.dumps(self.scrubbed(kept), ensure_ascii=False)


def scrubber_of(root: Path, accounts: Mapping[str, Account], more: Iterable[str] = ()) -> Scrubber:
    """Of everything in the secrets folder; `more`: secrets from elsewhere."""
    secrets, names = {*more}, set()
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        if path.is_file() and path.name not in PUBLIC and not any(part.startswith("accepted-config") for part in inside):
            secrets |= _secrets_in(path.name, path.read_text(encoding="utf-8", errors="replace"))
    tokens = root / "alerts" / "api-tokens.json"
    if tokens.exists():
        names |= {token.name for token in decode_tokens(tokens.read_bytes())}
    names |= {account.name for account in accounts.values() if account.role in FROM_OUTSIDE}
    return Scrubber(secrets, names)


def support_text(facts: Evidence, findings: Sequence[Finding], logs: Mapping[str, Sequence[str]], scrubber: Scrubber) -> str:
    """The file."""
    plant = facts.plant
    document = {
        "made_at": format_timestamp(facts.now_ms),
        "version": facts.version,
        "place": facts.commands.place,
        "findings": [asdict(finding) for finding in findings],
        "processes": None if facts.processes is None else [asdict(one) for one in facts.processes],
        "broker": None if facts.broker is None else asdict(facts.broker),
        "database": None if facts.database is None else msgspec.to_builtins(facts.database),
        "disks": [asdict(disk) for disk in facts.disks],
        "parts": msgspec.to_builtins(facts.parts),
        "statuses": msgspec.to_builtins(facts.statuses),
        "comms": msgspec.to_builtins(facts.comms),
        "last_stored": None if facts.last_stored_ms is None else {k: format_timestamp(v) for k, v in facts.last_stored_ms.items()},
        "plant": None
        if plant is None
        else {
            "root": plant.root,
            "time_zone": plant.time_zone,
            "version": plant.version,
            "devices": [
                {
                    "id": device.id,
                    "line": device.line,
                    "profile": device.profile,
                    "gateway": device.gateway,
                }
                for device in plant.devices.values()
            ],
        },
        "accounts": None if facts.access is None else sorted(facts.access.accounts),
        "boards_time_zone": facts.boards_time_zone,
    }
    said = scrubber.scrubbed(document)
    said["logs"] = {part: [scrubber.log_line(line) for line in lines] for part, lines in logs.items()}
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


def write_support(name: str, text: str) -> None:
    """Readable for who writes it alone. Raises CannotStart."""
    try:
        with os.fdopen(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise CannotStart(name, f"the file for support cannot be written: {error.strerror}") from error


def _secrets_in(name: str, text: str) -> set[str]:
    if name == "accounts.json":
        return {str(each.get("password_hash", "")) for each in json.loads(text or "[]")}
    if name == "api-tokens.json":
        return {token.sha256 for token in decode_tokens(text.encode())} if text.strip() else set()
    if name == "passwords":
        return {line.partition(":")[2] for line in text.splitlines()}
    if name == "mosquitto_sub":
        text = text.rpartition("-P ")[2]
    words = {word for word in text.split() if len(word) >= SHORTEST and word != "PRIVATE"}
    return words | {text.strip()} if len(text.strip()) >= SHORTEST else words

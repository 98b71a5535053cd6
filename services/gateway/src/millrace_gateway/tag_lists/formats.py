"""Which kind of list a text is, seen from its content, and the reader for it."""

from __future__ import annotations

import json
import re
from typing import Final

from millrace_contract.errors import ConfigurationProblems, Problem
from millrace_contract.plant.document import Document, parse_document

from . import evcc, home_assistant, kepware, rows, sunspec, telegraf, thingsboard
from .profile_text import ImportedProfile, compose_profile
from .tags import DeviceTags, Unclear

KINDS: Final = (
    "a CSV with a header (name, address, type, ...; Kepware's too), Telegraf's inputs.modbus (TOML), Home Assistant's modbus "
    "(YAML), ThingsBoard's Modbus connector (JSON), evcc's templates (YAML), a SunSpec model (JSON)"
)


def as_text(raw: bytes, file: str) -> str:
    """The file's text, whatever program saved it. Raises ConfigurationProblems for what is no text."""
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise _wrong(file, "is a spreadsheet or an archive, not a text: save the sheet as CSV")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")  # Excel's "Unicode text".
    if b"\0" in raw[:4096]:
        raise _wrong(file, f"is no text; a tag list is {KINDS}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")  # What a spreadsheet on Windows writes.


def import_tags(
    text: str, file: str, *, title: str, device: str | None = None, order: str | None = None, model_at: int | None = None
) -> ImportedProfile:
    """The profile of the list's device, or of the one that is called `device`.

    Raises ConfigurationProblems that name every tag that must be mended, and for a text that is no tag list.
    """
    return compose_profile(_chosen(read_list(text, file, model_at), device, file), file, title=title, order=order)


def read_list(text: str, file: str, model_at: int | None = None) -> list[DeviceTags]:
    """The devices of the list, with their tags. Raises ConfigurationProblems."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise _wrong(file, "is empty")
    if text.lstrip().startswith(("{", "[{")) and not text.lstrip().startswith("{{"):
        return _from_json(text, file, model_at)
    if re.search(r"^\s*\[\[\s*inputs\.modbus\s*\]\]", text, re.MULTILINE):
        return telegraf.read_telegraf(text, file)
    if kepware.looks_like_kepware(text):
        return kepware.read_kepware(text)
    if rows.looks_like_rows(text):
        return rows.read_rows(text, file)
    document = parse_document(text, file, is_mapping=False)
    if evcc.looks_like_evcc(document.data):
        return evcc.read_evcc(text)
    if any(True for _ in home_assistant.hubs(document.root)):
        return _without_problems(document, home_assistant.read_home_assistant(document))
    if _may_be_rows(text):
        return rows.read_rows(text, file)
    if document.problems and re.search(r"^\s*(- )?(sensors|render|modbus):", text, re.MULTILINE):
        raise ConfigurationProblems(document.problems)
    raise _wrong(file, f"is none of the lists that can be read: {KINDS}")


def _from_json(text: str, file: str, model_at: int | None) -> list[DeviceTags]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationProblems([Problem(file, error.lineno, "", f"is no valid JSON: {error.msg}")]) from error
    if sunspec.looks_like_sunspec(document):
        try:
            return sunspec.read_sunspec(document, text, model_at)
        except Unclear as unclear:
            raise ConfigurationProblems([Problem(file, 0, unclear.column, str(unclear))]) from unclear
    if thingsboard.slaves_of(document):
        return thingsboard.read_thingsboard(document, text)
    raise _wrong(file, f"is JSON, but none of the lists that can be read: {KINDS}")


def _without_problems(document: Document, devices: list[DeviceTags]) -> list[DeviceTags]:
    if document.problems:
        raise ConfigurationProblems(document.problems)
    return devices


def _may_be_rows(text: str) -> bool:
    """A first line of several short cells: a header, although it is none that we know. Its reader says what is missing."""
    first, _, rest = text.partition("\n")
    cells = max((first.split(delimiter) for delimiter in ",;\t"), key=len)
    return len(cells) > 2 and bool(rest.strip()) and all(len(cell) < 40 and ":" not in cell and "{" not in cell for cell in cells)


def _chosen(devices: list[DeviceTags], wanted: str | None, file: str) -> DeviceTags:
    if wanted is None and len(devices) == 1:
        return devices[0]
    named = [device for device in devices if device.device == wanted]
    if len(named) == 1:
        return named[0]
    names = ", ".join(device.device or "(without a name)" for device in devices)
    if wanted is None:
        raise _wrong(file, f"holds {len(devices)} devices, and a profile is for one: choose with --device: {names}")
    raise _wrong(file, f"holds no device {wanted!r}, but {names}")


def _wrong(file: str, message: str) -> ConfigurationProblems:
    return ConfigurationProblems([Problem(file, 0, "", message)])

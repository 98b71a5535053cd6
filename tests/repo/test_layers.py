"""Imports point one way, each foreign library has one module a package, and what must not be in a module is not in it."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.trees import nodes

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted(path for path in ROOT.glob("services/*/src/millrace_*") if path.is_dir())
CONTRACT = "millrace_contract"

OUR_TYPES = {"pydantic", "msgspec", "fastapi", "starlette", "anyio"}
"""Libraries that a package is written in, as it is in Python: models and the API, with what FastAPI stands on."""

LONGEST_MODULE = 500
VAGUE_NAMES = {"utils", "helpers", "common", "manager", "base", "types", "misc"}
READS_THE_ENVIRONMENT = {
    "services/contract/src/millrace_contract/plant/model.py": "host and port may be ${NAME:-default}; tests hand in their own",
    "services/contract/src/millrace_contract/testing/servers.py": "finds the binaries of this machine",
    "services/contract/src/millrace_contract/runtime/supervisor.py": "NOTIFY_SOCKET is systemd's, no setting of ours",
}

READS_A_CLOCK = {
    "services/admin/src/millrace_admin/database_setup.py": "waits for a server that starts",
    "services/admin/src/millrace_admin/demo/processes.py": "a command: restarts real processes",
    "services/admin/src/millrace_admin/demo/run.py": "a command: waits for the broker that it started",
    "services/admin/src/millrace_admin/record/cli.py": "a command: how often a person is told",
    "services/contract/src/millrace_contract/runtime/mqtt/lean_session.py": "time limits of a socket",
    "services/contract/src/millrace_contract/runtime/mqtt/link.py": "time limits of a socket",
    "services/contract/src/millrace_contract/runtime/mqtt/paho_session.py": "time limits of a socket",
    "services/contract/src/millrace_contract/runtime/mqtt/session.py": "time limits of a socket",
    "services/contract/src/millrace_contract/store_forward/outbox_thread.py": "how long a thread waits for its queue",
    "services/contract/src/millrace_contract/testing/servers.py": "waits for real servers",
    "services/gateway/src/millrace_gateway/stream.py": "time limits of a socket, on the clock of its event loop",
    "services/gateway/src/millrace_gateway/tcp_stream.py": "time limits of a socket, on the clock of its event loop",
    "services/gateway/src/millrace_gateway/rtu_stream.py": "time limits of a line, on the clock of its event loop",
    "services/gateway/src/millrace_gateway/scan.py": "measures how long real devices take",
    "services/ingest/src/millrace_ingest/archive_cli.py": "a command: how often a person is told",
    "services/ingest/src/millrace_ingest/cli.py": "a command: waits for a running service",
    "services/ingest/src/millrace_ingest/status_cli.py": "a command: waits for a running service",
    "services/simulator/src/millrace_simulator/scoring.py": "a command: waits for a running plant",
}
"""Who may ask the machine for durations, or sleep, and why no Clock is handed in. Nobody asks it for the time of day."""

TIMES_OF_DAY = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
}
DURATIONS = {
    *(("time", name) for name in ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")),
    *((loop, "time") for loop in ("loop", "_loop")),
}

FEW_MESSAGES = {
    "services/contract/src/millrace_contract/testing/uplinks.py": "the same tests run over both clients",
    "services/ingest/src/millrace_ingest/rollup/service.py": "hears of late data, and publishes a status",
    "services/ingest/src/millrace_ingest/status_cli.py": "the retained statuses, once",
    "services/simulator/src/millrace_simulator/history.py": "a command: publishes a past, and hears what is stored of it",
}
"""Who uses paho (decision 0012), and why that is enough."""
OUTBOX_OWNERS = {"outbox_thread", "turns"}
"""Modules of the contract whose users own an outbox."""


def _modules(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def _imports(module: Path) -> Iterator[tuple[str, int]]:
    """(top-level name, line) of every absolute import, those inside functions too."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from ((name.name.split(".")[0], node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


def _shown(module: Path) -> str:
    return module.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_services_import_the_contract_and_nothing_else_of_ours(package: Path) -> None:
    wrong = [
        f"{_shown(module)}:{line} imports {name}"
        for module in _modules(package)
        for name, line in _imports(module)
        if name.startswith("millrace_") and name not in (package.name, CONTRACT)
    ]
    assert not wrong, "services meet on topics and in the database; what both need belongs in the contract:\n" + "\n".join(wrong)


def test_the_drawers_of_the_contract_import_downwards_only() -> None:
    above = {
        "language": {"plant", "store_forward", "runtime"},
        "plant": {"store_forward", "runtime"},
        "runtime": {"store_forward"},
    }
    package = next(path for path in PACKAGES if path.name == CONTRACT)
    wrong = [
        f"{_shown(module)}:{node.lineno} imports {node.module}"
        for drawer, forbidden in above.items()
        for module in _modules(package / drawer)
        for node in nodes(module)
        if isinstance(node, ast.ImportFrom) and node.level > 1 and (node.module or "").split(".")[0] in forbidden
    ]
    assert not wrong, "\n".join(wrong)


def _parts(module: Path) -> set[str]:
    """Last parts of the names of every module that is imported from."""
    return {(node.module or "").rpartition(".")[2] for node in nodes(module) if isinstance(node, ast.ImportFrom)}


def test_paho_serves_only_those_whose_messages_are_few() -> None:
    users = {_shown(module) for package in PACKAGES for module in _modules(package) if "paho_session" in _parts(module)}
    assert users == FEW_MESSAGES.keys(), "decision 0012: who receives telemetry or owns an outbox uses LeanSession"
    for name in FEW_MESSAGES:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "Kind.TELEMETRY" not in text, f"{name} hears telemetry"
        assert "for kind in Kind" not in text, f"{name} hears everything"


@pytest.mark.parametrize("package", [path for path in PACKAGES if path.name != CONTRACT], ids=lambda path: path.name)
def test_who_owns_an_outbox_uses_the_lean_client(package: Path) -> None:
    parts = set().union(*(_parts(module) for module in _modules(package)))
    assert not parts & OUTBOX_OWNERS or "lean_session" in parts, "decision 0012"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_each_foreign_library_is_imported_by_one_module(package: Path) -> None:
    users: dict[str, set[str]] = defaultdict(set)
    for module in _modules(package):
        for name, _ in _imports(module):
            foreign = name == "sqlite3" or (name not in sys.stdlib_module_names and not name.startswith("millrace_"))
            if foreign and name not in OUR_TYPES:
                users[name].add(_shown(module))
    wrong = {name: sorted(modules) for name, modules in users.items() if len(modules) > 1}
    assert not wrong, f"let the others use the first module's own types, so that an upgrade is a change of one file: {wrong}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_modules_are_short_and_named_for_what_they_hold(package: Path) -> None:
    long = [
        f"{_shown(module)} has {lines} lines"
        for module in _modules(package)
        if (lines := module.read_text(encoding="utf-8").count("\n")) > LONGEST_MODULE
    ]
    assert not long, f"at most {LONGEST_MODULE}: split them by what they know: {long}"
    vague = [_shown(path) for path in package.rglob("*") if path.stem in VAGUE_NAMES]
    assert not vague, f"a name that says nothing collects everything: {vague}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_only_command_lines_print(package: Path) -> None:
    wrong = [
        f"{_shown(module)}:{node.lineno}"
        for module in _modules(package)
        if module.stem not in ("__main__", "cli") and module.parent.name != "commands"
        for node in nodes(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, f"log it, or hand it to a command line (commands/, cli.py, __main__.py): {wrong}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_the_clock_and_the_environment_are_handed_in(package: Path) -> None:
    wrong = []
    for module in _modules(package):
        for node in _attributes(module):
            used = _dotted(node)
            is_banned = used in TIMES_OF_DAY or (used in DURATIONS and _shown(module) not in READS_A_CLOCK)
            if is_banned and module.stem != "clock":
                wrong.append(f"{_shown(module)}:{node.lineno} asks {'.'.join(used)}: take a Clock")
            may_read = module.stem in ("__main__", "cli") or _shown(module) in READS_THE_ENVIRONMENT
            if used in {("os", "environ"), ("os", "getenv")} and not may_read:
                wrong.append(f"{_shown(module)}:{node.lineno} reads {'.'.join(used)}: take it from the settings")
    assert not wrong, "\n".join(wrong)


def test_every_reader_of_a_clock_still_reads_it() -> None:
    """A reason outlives its cause in no list."""
    idle = [name for name in READS_A_CLOCK if not any(_dotted(node) in DURATIONS for node in _attributes(ROOT / name))]
    assert not idle, f"these take a Clock now; take them out of the list: {idle}"


def _attributes(module: Path) -> Iterator[ast.Attribute]:
    return (node for node in nodes(module) if isinstance(node, ast.Attribute))


def _dotted(node: ast.Attribute) -> tuple[str, str]:
    """The last two names: time.monotonic, and self._loop.time as _loop.time."""
    if isinstance(node.value, ast.Name):
        return node.value.id, node.attr
    return (node.value.attr if isinstance(node.value, ast.Attribute) else "", node.attr)

"""The description of the API: valid, whole, what the service really does, and good enough to make a client from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from millrace_contract.testing import wait_until

from .chromium import Chromium
from .conftest import Running

HERE = Path(__file__).parent
EXAMPLE_MES = HERE.parents[1] / "docs" / "examples" / "mes.py"
PROGRAMS = Path(sys.executable).parent

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def schema(shared: Running) -> dict[str, Any]:
    answer: dict[str, Any] = shared.get("/openapi.json", token=None).json()
    return answer


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_it_is_openapi_3_1(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    validate(schema)


def test_operations_have_names_that_make_a_decent_client(schema: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(schema)]
    assert len(set(names)) == len(names)
    assert not [name for name in names if "__" in name or "_v1" in name or name.endswith(("_get", "_post"))], names


def test_every_operation_says_what_it_needs_and_how_it_refuses(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        assert operation.get("description") or operation.get("summary"), name
        if " /v1/" not in name:
            continue
        assert operation["security"] == [{"token": []}], name
        assert {"401", "403"} <= set(operation["responses"]), name
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], f"{name} {status}"
            if status in {"401", "503"}:
                assert answer["headers"], f"{name} {status}"


def test_every_parameter_and_body_has_an_example_or_a_closed_set(schema: dict[str, Any]) -> None:
    missing = []
    for name, operation in operations(schema):
        for parameter in operation.get("parameters", []):
            text = json.dumps(parameter)
            if not any(word in text for word in ('"example', '"enum"', '"$ref"', '"default"')):
                missing.append(f"{name} {parameter['name']}")
    assert not missing


@pytest.mark.long
def test_nothing_that_a_fuzzer_sends_is_answered_otherwise_than_described(shared: Running, tmp_path: Path) -> None:
    """schemathesis with all its checks. The stream has no end, and readiness is about a broker that is not here."""
    shared.raise_hot()
    command = [
        str(PROGRAMS / "schemathesis"), "--config-file", str(HERE / "schemathesis.toml"), "run",
        f"http://127.0.0.1:{shared.settings.http_port}/openapi.json", "--header", "Authorization: Bearer fuzzer-token",
        "--exclude-path", "/v1/alerts/stream", "--exclude-path", "/health/ready",
        "--seed", "1", "--max-examples", "15", "--no-color",
    ]  # fmt: skip
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False
    )  # it keeps a cache there
    assert ended.returncode == 0, ended.stdout[-30_000:] + ended.stderr[-2000:]


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, schema: dict[str, Any]) -> Path:
    """A folder with the client `millrace_client`, generated from the description."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_text(json.dumps(schema))
    command = [str(PROGRAMS / "openapi-python-client"), "generate", "--path", "openapi.json", "--meta", "none"]
    ended = subprocess.run(
        [*command, "--output-path", "millrace_client", "--fail-on-warning"],
        cwd=folder,
        env={**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


class ExampleMes:
    """The program of docs/examples, with the generated client beside it."""

    def __init__(self, client: Path, folder: Path, service: Running) -> None:
        self._command = [
            sys.executable, str(EXAMPLE_MES), "--server", f"http://127.0.0.1:{service.settings.http_port}",
            "--token-file", str(folder / "token"), "--journal", str(folder / "journal.jsonl"), "--acknowledge", "hot",
        ]  # fmt: skip
        (folder / "token").write_text("lead-token\n")
        self._journal = folder / "journal.jsonl"
        self._environment = {**os.environ, "PYTHONPATH": str(client)}

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def entries(self) -> list[dict[str, Any]]:
        text = self._journal.read_text() if self._journal.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def seqs(self) -> list[int]:
        return [entry["seq"] for entry in self.entries() if "seq" in entry]


@pytest.mark.long
def test_the_example_mes_follows_the_feed_through_kills_and_a_lost_store_and_acknowledges(
    generated: Path, tmp_path: Path, running: Running
) -> None:
    mes = ExampleMes(generated, tmp_path, running)
    process = mes.start()
    try:
        running.measure(temperature=90.0)
        wait_until(lambda: running.state("hot.CNC-01") == "ACKED", "the acknowledgement of the MES")
        process.kill()
        process.communicate()
        running.measure(temperature=20.0)
        running.wait_state("hot.CNC-01", "NORM")
        process = mes.start()
        running.measure("CNC-02", temperature=90.0)
        wait_until(lambda: running.state("hot.CNC-02") == "ACKED", "the second acknowledgement")
        running.stop()  # The service is away for a while; the MES waits for it.
        running.start()
        running.measure("CNC-02", temperature=20.0)
        running.wait_state("hot.CNC-02", "NORM")
        wait_until(lambda: mes.seqs()[-1:] == [running.reader.last_event_seq()], "every event in the journal")
        assert mes.seqs() == list(range(1, running.reader.last_event_seq() + 1))
        running.stop()
        for file in running.settings.data.glob("alerts.db*"):
            file.unlink()
        running.start()
        running.measure("CNC-01", temperature=90.0)
        wait_until(lambda: running.state("hot.CNC-01") == "ACKED", "the acknowledgement after the store was lost")
        places = [entry for entry in mes.entries() if "seq" not in entry]
        assert len(places) == 1, "one place to go on from, after one 410"
    finally:
        process.kill()
        told, _ = process.communicate()
    assert "Traceback" not in told


@pytest.mark.browser
def test_the_description_is_shown_to_people_without_internet(tmp_path: Path, shared: Running) -> None:
    with Chromium(tmp_path, f"http://127.0.0.1:{shared.settings.http_port}/docs") as page:
        shown = "document.querySelectorAll('.opblock').length"
        wait_until(lambda: page.evaluate(shown) > 10, "the operations on the page")
        names = page.evaluate("performance.getEntriesByType('resource').map(each => each.name)")
        assert not [name for name in names if not name.startswith(("data:", page.evaluate("location.origin")))]

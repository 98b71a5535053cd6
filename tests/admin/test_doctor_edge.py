"""Doctor on an edge box: a system tree, and a gateway's health address in it. No bundle, no systemd."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from millrace_admin.doctor.__main__ import main
from millrace_contract.runtime.health import STATUS_PATH, HealthServer, Heartbeats
from millrace_contract.testing import free_port

from . import doctor_evidence as seen

PLANT = """
root: factory
time_zone: Europe/Berlin
lines: {line1: {devices: {METER-01: {profile: demo-meter, gateway: edge-2, connection: {host: 127.0.0.1}}}}}
"""


class Tree:
    """What `install` makes, with a gateway edge-2 that says `figures` and `problems` of itself."""

    def __init__(self, root: Path) -> None:
        self.root, self.port = root, free_port()
        self.figures: dict[str, float] = {"devices": 1, "devices_online": 1}
        self.problems: list[str] = []
        self.needs = {"broker": True, "outbox": True}
        etc = root / "etc/millrace"
        (etc / "config/profiles").mkdir(parents=True)
        (root / "var/lib/millrace-edge").mkdir(parents=True)
        (etc / "config/plant.yaml").write_text(PLANT)
        profile = (seen.REPOSITORY / "config/profiles/demo-meter.yaml").read_text()
        (etc / "config/profiles/demo-meter.yaml").write_text(profile)
        (etc / "edge.env").write_text(
            f"MILLRACE_INSTANCE=edge-2\nMILLRACE_MQTT_HOST=127.0.0.1\nMILLRACE_MQTT_PORT={free_port()}\nMILLRACE_HTTP_PORT={self.port}\n"
            "MILLRACE_OUTBOX_MAX_MB=1\n"
        )
        self.health = HealthServer("127.0.0.1", self.port, Heartbeats(), lambda: self.needs, {STATUS_PATH: self._status})

    def _status(self, _method: str, _body: bytes) -> tuple[int, object]:
        said = seen.status("gateway", instance="edge-2", figures=self.figures, problems=self.problems)
        return 200, msgspec.to_builtins(said)

    def doctor(self, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, str]]]:
        status = main(["--root", str(self.root), "--wait", "0", "--json"])
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    made = Tree(tmp_path)
    made.health.start()
    yield made
    made.health.stop()


def test_a_server_that_is_away_needs_somebody_and_the_gateway_is_not_blamed(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.needs["broker"] = False
    tree.problems = ["no answer from 127.0.0.1:8883"]
    status, rows = tree.doctor(capsys)
    ill = [row for row in rows if row["prognosis"] == "needs_somebody"]
    assert status == 2
    assert [row["subject"] for row in ill] == ["broker"]
    assert "nothing listens at 127.0.0.1:" in ill[0]["cause"]
    assert "port 8883 of the server" in ill[0]["mend"]
    assert {"note", "fine", "needs_somebody"} == {row["prognosis"] for row in rows}


def test_devices_are_counted_by_the_gateway_itself(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    told = {row["subject"]: row for row in tree.doctor(capsys)[1]}
    assert told["gateway edge-2"]["cause"] == "1 of 1 devices online"
    tree.figures = {"devices": 2, "devices_offline": 2}
    told = {row["subject"]: row for row in tree.doctor(capsys)[1]}
    assert told["gateway edge-2"]["cause"] == "none of its 2 devices answers"
    tree.figures = {"devices": 0}
    told = {row["subject"]: row for row in tree.doctor(capsys)[1]}
    assert told["gateway edge-2"]["cause"] == "has no device to read"


def test_a_wrong_password_on_a_box_needs_a_new_kit(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    tree.needs["broker"] = False
    tree.problems = [
        "the broker refuses the account gateway-edge-2: wrong user name or password. /run/x must hold what the broker knows"
    ]
    told = [row for row in tree.doctor(capsys)[1] if "refuses its account gateway-edge-2" in row["cause"]]
    assert "on the server: docker compose run --rm admin access revoke gateway-edge-2" in told[0]["mend"]


def test_a_box_on_which_nothing_is_installed_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "--wait", "0"]) == 2
    assert "run install of a bundle" in capsys.readouterr().out


@pytest.mark.process
def test_it_needs_no_more_than_a_gateway_has(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules.update({'cryptography': None, 'rich': None}); from millrace_admin.doctor.__main__ import main; "
    )
    command = f"{without}sys.exit(main(['--root', {str(tmp_path)!r}, '--wait', '0']))"
    done = subprocess.run([sys.executable, "-I", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr == ""

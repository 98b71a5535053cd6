"""One certificate authority takes the place of another: both are trusted meanwhile, and nobody carries anything to a gateway."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from millrace_admin import authority
from millrace_admin.__main__ import main
from millrace_admin.access import grants, renewal
from millrace_admin.bootstrap import bootstrap
from millrace_admin.certificates import ends, is_pair, renewal_reason, server_names
from millrace_admin.secret_files import SecretFiles
from millrace_contract.language.messages import Status
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.disk_space import Disks
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks
from millrace_contract.runtime.mqtt.trust import LEARNED
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.runtime.status import StatusReporter
from millrace_contract.testing import wait_until

from .running_broker import RunningBroker

pytestmark = pytest.mark.long

BEGIN = "-----BEGIN CERTIFICATE-----"


def texts(files: SecretFiles, *names: str) -> list[str]:
    return [files.path("admin", name).read_text() for name in names]


def now() -> datetime:
    return datetime.now(UTC)


def test_both_are_trusted_from_the_next_ones_making_to_its_use(ready_files: SecretFiles) -> None:
    [before] = texts(ready_files, "ca.crt")
    fingerprint = renewal.make_next(ready_files, now())
    [present, following] = texts(ready_files, "ca.crt", "ca-next.crt")
    assert present == before
    assert grants.authority(ready_files) == f"{before}{following}".strip()
    chain = ready_files.path("mosquitto", "server.crt").read_text()
    assert chain.count(BEGIN) == 2
    assert chain.endswith(following)
    assert renewal.make_next(ready_files, now()) == fingerprint, "there is one next authority"
    assert renewal.use_next(ready_files, now(), []) == fingerprint
    assert grants.authority(ready_files) == following.strip()
    assert renewal_reason(ready_files.path("mosquitto", "server.crt").read_text(), following, server_names(""), now()) is None
    with pytest.raises(grants.GrantRefused, match="new-ca"):
        renewal.use_next(ready_files, now(), [])


def test_a_kill_in_the_middle_of_the_switch_is_mended_by_the_next_look(ready_files: SecretFiles) -> None:
    renewal.make_next(ready_files, now())
    [following, key] = texts(ready_files, "ca-next.crt", "ca-next.key")
    ready_files.write("admin", "ca.key", key)
    assert grants.authority(ready_files) == following.strip()
    assert not ready_files.path("admin", "ca-next.key").exists()
    renewal.make_next(ready_files, now())
    assert grants.authority(ready_files).count(BEGIN) == 2


def test_up_makes_the_next_one_in_good_time_and_uses_it_before_the_end(ready_files: SecretFiles, sample_config: Path) -> None:
    end = ends(texts(ready_files, "ca.crt")[0])
    bootstrap(ready_files, sample_config, "localhost", end - timedelta(days=3 * 365))
    assert grants.authority(ready_files).count(BEGIN) == 1
    report = bootstrap(ready_files, sample_config, "localhost", end - timedelta(days=600))
    assert any("the next one was made beside it" in line for line in report.done)
    assert grants.authority(ready_files).count(BEGIN) == 2
    [following] = texts(ready_files, "ca-next.crt")
    report = bootstrap(ready_files, sample_config, "localhost", end - timedelta(days=20))
    assert "the next certificate authority signs from now on" in report.done
    assert texts(ready_files, "ca.crt") == [following]


def test_a_certificate_whose_key_was_not_written_any_more_is_made_anew(ready_files: SecretFiles, sample_config: Path) -> None:
    before = ready_files.path("mosquitto", "server.crt").read_text()
    ready_files.write("mosquitto", "server.key", authority.begin(ready_files, now()).key)  # of another
    bootstrap(ready_files, sample_config, "localhost", now())
    after, key = (ready_files.path("mosquitto", name).read_text() for name in ("server.crt", "server.key"))
    assert after != before
    assert is_pair(after, key)


def test_who_would_be_left_outside_is_named(ready_files: SecretFiles) -> None:
    fingerprint = renewal.make_next(ready_files, now())
    grants.add_gateway(ready_files, "edge-3", now())
    status = Status(service="gateway", instance="edge-2", alive=True, trusts=["of before"])
    inside = Status(service="oee", instance="1", alive=True)
    with pytest.raises(grants.GrantRefused, match=r"by gateway-edge-2, gateway-edge-3 \(which is away\)\. They learn it"):
        renewal.use_next(ready_files, now(), [status, inside])
    knows = Status(service="gateway", instance="edge-3", alive=True, trusts=["of before", fingerprint])
    assert renewal.left_outside(ready_files, fingerprint, [knows, inside]) == []


@pytest.mark.broker
def test_a_gateway_that_trusts_the_old_one_alone_goes_on_without_a_visit(
    broker: RunningBroker,
    ready_files: SecretFiles,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MILLRACE_MQTT_PORT", str(broker.port))
    monkeypatch.setattr(renewal, "HEAR_S", 0.5)
    kit = tmp_path / "ca.crt"
    kit.write_bytes(ready_files.path("admin", "ca.crt").read_bytes())
    name, password = grants.add_gateway(ready_files, "edge-2", now())
    wait_until(lambda: broker.can_log_in(name, password), "the broker reading its accounts again")
    settings = BrokerSettings(mqtt_host="localhost", mqtt_port=broker.tls_port, mqtt_password=SecretStr(password), mqtt_ca=kit)

    def access(*arguments: str) -> int:
        capsys.readouterr()
        return main(["access", *arguments, "--secrets", str(ready_files.root), "--keep-owner", "--json"])

    def connected() -> LeanSession:
        session = LeanSession(settings, name, Callbacks(), learned_ca=tmp_path / LEARNED)
        session.start()
        assert session.wait_connected(60), session.problem
        return session

    first = connected()
    status = Status(service="gateway", instance="edge-2", alive=True)
    reporter = StatusReporter(first, Topics("factory"), status, lambda base: base, disks=Disks(tmp_path))
    reporter.start()
    assert access("new-ca") == 0
    fingerprint = json.loads(capsys.readouterr().out)["next authority"]
    assert access("use-new-ca") == 2
    assert "is not trusted yet by gateway-edge-2" in capsys.readouterr().err

    generation = first.generation
    broker.stop()  # docker compose restart mosquitto
    broker.start()
    wait_until(lambda: first.is_connected and first.generation > generation, "the gateway connecting anew")
    assert fingerprint in first.trusted
    reporter.now()
    wait_until(lambda: access("use-new-ca") == 0, "the gateway's word that it trusts the next one")
    reporter.stop()
    first.stop()

    # Begun again, with the kit of before and what it has learned.
    wait_until(lambda: broker.presents(ready_files.path("admin", "ca.crt")), "the broker's certificate of the next authority")
    connected().stop()
    stranger = LeanSession(settings, name, Callbacks())
    stranger.start()
    wait_until(lambda: "do not agree on TLS" in (stranger.problem or ""), "the distrust of who never heard of it")
    stranger.stop()

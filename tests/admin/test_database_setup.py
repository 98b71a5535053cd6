"""Against a real influxd that nobody has set up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_admin.__main__ import main
from millrace_admin.database_setup import DatabaseClient, Retention, parse_retention, set_up_database
from millrace_admin.secret_files import SecretFiles
from millrace_contract.errors import ConfigurationProblems, Refusal
from millrace_contract.language.points import BUCKETS, PRODUCTION_BUCKET, ROLLUP_1H_BUCKET, ROLLUP_1M_BUCKET, TELEMETRY_BUCKET
from millrace_contract.runtime.influx import BucketRetention, Influx, QueryFailed, Refused
from millrace_contract.testing import Influxd
from millrace_contract.testing.servers import Server

LINE = b"press,line=line1,device=P-01 force=1 1770000000000000000"


class UntouchedInfluxd(Influxd):
    """As it comes out of the box."""

    def start(self) -> None:
        Server.start(self)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[UntouchedInfluxd]:
    if Influxd.binary() is None:
        pytest.fail("influxd is not on this machine") if os.environ.get("CI") == "true" else pytest.skip("no influxd")
    server = UntouchedInfluxd(tmp_path / "influxd")
    server.start()
    yield server
    server.stop()


def kept(raw: str) -> Retention:
    return Retention(raw, "180d", "forever")


def token(files: SecretFiles, consumer: str) -> str:
    text = files.read(consumer, "influx_token")
    assert text is not None
    return text


@pytest.mark.influx
def test_consumers_get_the_rights_they_need_and_no_more(ready_files: SecretFiles, database: UntouchedInfluxd) -> None:
    set_up_database(ready_files, database.url, "millrace", Retention("forever", "forever", "forever"))
    with Influx(database.settings(token(ready_files, "ingest"))) as ingest:
        for bucket in (TELEMETRY_BUCKET, PRODUCTION_BUCKET):
            ingest.write(bucket, LINE)
        assert ingest.query(PRODUCTION_BUCKET, "SELECT force FROM press")  # for the ledger
        with pytest.raises(QueryFailed, match="database not found"):  # what cannot be read does not exist
            ingest.query(TELEMETRY_BUCKET, "SELECT * FROM press")
    with Influx(database.settings(token(ready_files, "rollup"))) as rollup:
        for bucket in BUCKETS:
            rollup.write(bucket, LINE)
        rollup.set_retention(TELEMETRY_BUCKET, BucketRetention(30 * 86_400, 86_400))
        assert rollup.retention(TELEMETRY_BUCKET) == BucketRetention(30 * 86_400, 86_400)
        assert all(rollup.query(bucket, "SELECT force FROM press") for bucket in BUCKETS)
    for reader in ("oee", "alerts", "simulator", "grafana"):
        with Influx(database.settings(token(ready_files, reader))) as client:
            for bucket in (TELEMETRY_BUCKET, PRODUCTION_BUCKET):
                assert len(client.query(bucket, "SELECT force FROM press")) == 1
                with pytest.raises(Refused):
                    client.write(bucket, LINE)


@pytest.mark.influx
def test_second_run_changes_nothing_and_a_lost_token_is_replaced(ready_files: SecretFiles, database: UntouchedInfluxd) -> None:
    set_up_database(ready_files, database.url, "millrace", kept("30d"))
    tokens = {consumer: token(ready_files, consumer) for consumer in ("ingest", "rollup", "oee", "alerts", "simulator", "grafana")}
    assert set_up_database(ready_files, database.url, "millrace", kept("30d")).done == []
    ready_files.path("oee", "influx_token").unlink()
    ready_files.path("alerts", "influx_token").chmod(0o600)
    ready_files.path("alerts", "influx_token").write_text("of another installation\n")
    report = set_up_database(ready_files, database.url, "millrace", kept("30d"))
    assert report.done == ["database token for oee made", "database token for alerts made"]
    assert {consumer: token(ready_files, consumer) for consumer in tokens if consumer not in {"oee", "alerts"}} == {
        consumer: text for consumer, text in tokens.items() if consumer not in {"oee", "alerts"}
    }
    old, new = (DatabaseClient(database.url, each) for each in (tokens["oee"], token(ready_files, "oee")))
    assert old.call("GET", "/api/v2/buckets")[0] == 401
    assert new.call("GET", "/api/v2/buckets")[0] == 200


@pytest.mark.influx
def test_retention_follows_the_setting(ready_files: SecretFiles, database: UntouchedInfluxd) -> None:
    set_up_database(ready_files, database.url, "millrace", kept("30d"))
    assert retention(ready_files, database) == {
        TELEMETRY_BUCKET: 30 * 86400,
        PRODUCTION_BUCKET: 0,
        ROLLUP_1M_BUCKET: 180 * 86400,
        ROLLUP_1H_BUCKET: 0,
    }
    assert set_up_database(ready_files, database.url, "millrace", kept("8w")).done == ["bucket telemetry: retention changed to 8w"]
    assert retention(ready_files, database) == {
        TELEMETRY_BUCKET: 56 * 86400,
        PRODUCTION_BUCKET: 0,
        ROLLUP_1M_BUCKET: 180 * 86400,
        ROLLUP_1H_BUCKET: 0,
    }
    # Shorter than the stretches that InfluxDB has made so far.
    assert set_up_database(ready_files, database.url, "millrace", kept("12h")).done == [
        "bucket telemetry: retention changed to 12h"
    ]
    both = Retention("forever", "52w", "520w")
    assert len(set_up_database(ready_files, database.url, "millrace", both).done) == 3
    assert retention(ready_files, database) == {
        TELEMETRY_BUCKET: 0,
        PRODUCTION_BUCKET: 0,
        ROLLUP_1M_BUCKET: 364 * 86400,
        ROLLUP_1H_BUCKET: 3640 * 86400,
    }


@pytest.mark.influx
def test_what_is_kept_for_years_is_stored_in_long_stretches(ready_files: SecretFiles, database: UntouchedInfluxd) -> None:
    set_up_database(ready_files, database.url, "millrace", kept("30d"))
    _, answer = DatabaseClient(database.url, token(ready_files, "admin")).call("GET", "/api/v2/buckets")
    days = {one["name"]: one["retentionRules"][0]["shardGroupDurationSeconds"] / 86400 for one in answer["buckets"]}
    assert {name: days[name] for name in BUCKETS} == {
        TELEMETRY_BUCKET: 1, PRODUCTION_BUCKET: 28, ROLLUP_1M_BUCKET: 7, ROLLUP_1H_BUCKET: 28
    }  # fmt: skip


@pytest.mark.influx
def test_a_database_of_another_installation_is_named_with_the_way_out(
    ready_files: SecretFiles, database: UntouchedInfluxd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_database(ready_files, database.url, "millrace", kept("30d"))
    ready_files.path("admin", "influx_token").unlink()
    ready_files.ensure("admin", "influx_token")
    monkeypatch.setenv("MILLRACE_INFLUX_URL", database.url)
    assert main(["bootstrap-influxdb", "--secrets", str(ready_files.root), "--keep-owner"]) == 2
    assert "influxd recovery auth create-operator" in capsys.readouterr().err


def retention(files: SecretFiles, database: UntouchedInfluxd) -> dict[str, int]:
    _, answer = DatabaseClient(database.url, token(files, "admin")).call("GET", "/api/v2/buckets")
    return {
        bucket["name"]: sum(rule["everySeconds"] for rule in bucket["retentionRules"])
        for bucket in answer["buckets"]
        if not bucket["name"].startswith("_")
    }


def test_without_bootstrap_the_way_out_is_named(files: SecretFiles) -> None:
    with pytest.raises(Refusal, match="run `millrace bootstrap` first"):
        set_up_database(files, "http://127.0.0.1:9", "millrace", kept("30d"))


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("8w", 4_838_400), ("forever", 0)])
def test_retention_is_read(text: str, seconds: int) -> None:
    assert parse_retention(text) == seconds


@pytest.mark.parametrize("text", ["30", "0d", "d", "-1d", "1.5d", "30 d", "30m", "0h", "111111w"])
def test_a_wrong_retention_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigurationProblems, match="30d"):
        parse_retention(text)

"""Against a real influxd that nobody has set up."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_admin.__main__ import main
from millrace_admin.database_client import DatabaseClient
from millrace_admin.database_setup import Retention, parse_retention, set_up_database
from millrace_admin.secret_files import SecretFiles
from millrace_contract.errors import ConfigurationProblems, Refusal
from millrace_contract.language.measurements import BUCKETS, PRODUCTION_BUCKET, ROLLUP_1H_BUCKET, ROLLUP_1M_BUCKET, TELEMETRY_BUCKET
from millrace_contract.runtime.influx import BadLines, BucketRetention, Influx, PartialWrite, QueryFailed, Refused
from millrace_contract.runtime.settings import DatabaseWriterSettings, load_settings
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
    with Influx(writer_settings(ready_files, database, "ingest")) as ingest:
        for bucket in (TELEMETRY_BUCKET, PRODUCTION_BUCKET):
            ingest.write(bucket, LINE)
        assert ingest.query(PRODUCTION_BUCKET, "SELECT force FROM press")  # for the ledger
        with pytest.raises(QueryFailed, match="database not found"):  # what cannot be read does not exist
            ingest.query(TELEMETRY_BUCKET, "SELECT * FROM press")
        with pytest.raises(Refused, match="404"):
            ingest.write(ROLLUP_1M_BUCKET, LINE)
    with Influx(writer_settings(ready_files, database, "rollup")) as rollup:
        for bucket in (PRODUCTION_BUCKET, ROLLUP_1M_BUCKET, ROLLUP_1H_BUCKET):
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


def writer_settings(files: SecretFiles, database: UntouchedInfluxd, consumer: str) -> DatabaseWriterSettings:
    environ = {
        "MILLRACE_INFLUX_URL": database.url,
        "MILLRACE_INFLUX_TOKEN_FILE": str(files.path(consumer, "influx_token")),
        "MILLRACE_INFLUX_WRITER_FILE": str(files.path(consumer, "influx_writer")),
    }
    return load_settings(DatabaseWriterSettings, environ)


@pytest.mark.influx
@pytest.mark.parametrize(
    ("consumer", "protected"),
    [
        ("ingest", (TELEMETRY_BUCKET, PRODUCTION_BUCKET)),
        ("rollup", (PRODUCTION_BUCKET, ROLLUP_1M_BUCKET, ROLLUP_1H_BUCKET)),  # raw readings it gives up on a full disk
    ],
)
def test_nothing_that_a_writer_has_can_delete_what_it_writes(
    ready_files: SecretFiles, database: UntouchedInfluxd, consumer: str, protected: tuple[str, ...]
) -> None:
    set_up_database(ready_files, database.url, "millrace", Retention("forever", "forever", "forever"))
    settings = writer_settings(ready_files, database, consumer)
    admin = DatabaseClient(database.url, token(ready_files, "admin"))
    ids = {one["name"]: one["id"] for one in admin.expect("GET", "/api/v2/buckets?limit=100")["buckets"]}
    everything = {"start": "1970-01-01T00:00:00Z", "stop": "2100-01-01T00:00:00Z"}
    rules = {"retentionRules": [{"type": "expire", "everySeconds": 3600, "shardGroupDurationSeconds": 3600}]}
    writer = base64.b64encode(settings.secret("influx_writer").encode()).decode()
    with Influx(settings) as client:
        for bucket in protected:
            client.write(bucket, LINE)
            for authorization in (f"Basic {writer}", f"Token {settings.secret('influx_token')}"):
                called = [
                    admin.call("POST", f"/api/v2/delete?org=millrace&bucket={bucket}", everything, authorization=authorization),
                    admin.call("PATCH", f"/api/v2/buckets/{ids[bucket]}", rules, authorization=authorization),
                ]
                assert all(400 <= status < 500 for status, _ in called), called
                for statement in ("DELETE FROM press", "DROP MEASUREMENT press", "DROP SERIES FROM press"):
                    path = f"/query?db={bucket}&q={statement.replace(' ', '%20')}"
                    admin.call("POST", path, authorization=authorization)
    with Influx(database.settings(token(ready_files, "admin"))) as reader:
        for bucket in protected:
            assert len(reader.query(bucket, "SELECT force FROM press")) == 1


@pytest.mark.influx
def test_a_writer_is_answered_as_a_token_is(ready_files: SecretFiles, database: UntouchedInfluxd) -> None:
    set_up_database(ready_files, database.url, "millrace", kept("30d"))
    settings = writer_settings(ready_files, database, "ingest")
    now_ns = time.time_ns()
    with Influx(settings) as writer, Influx(database.settings(token(ready_files, "admin"))) as holder:
        writer.write(TELEMETRY_BUCKET, b"sorted,line=l a=1 %d" % now_ns)
        wrong = {
            BadLines: b"sorted,line=l a=1 %d\nno line at all" % now_ns,
            PartialWrite: b'sorted,line=l a="text" %d' % (now_ns + 1),
        }
        for kind, body in wrong.items():
            said = []
            for influx in (writer, holder):
                with pytest.raises(kind) as raised:
                    influx.write(TELEMETRY_BUCKET, body)
                said.append(str(raised.value))
            assert said[0] == said[1]
        ready_files.path("ingest", "influx_writer").unlink()
        report = set_up_database(ready_files, database.url, "millrace", kept("30d"))
        assert report.done == ["database account for ingest to write with made"]
        writer.write(TELEMETRY_BUCKET, b"sorted,line=l a=2 %d" % now_ns)  # read anew, without a restart


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

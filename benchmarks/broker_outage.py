"""How soon all is caught up after the broker was away: the gateway reads on, and what it read goes through ingest to InfluxDB.

The broker is killed (-9), stays away, and starts again. Live again: the newest reading in the database is less than two intervals
old. Caught up: the database holds as many readings of the absence as the Modbus server served, but for one a device at each end.
Both in seconds from the moment at which the broker takes connections again. Rows of outages in turn.

usage: python benchmarks/broker_outage.py [--away SECONDS,...] [--devices N] [--json]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from _measuring import start_service
from _modbus_load import Stage, devices, stage, start_gateways
from gateway import Row, show

from millrace_contract.runtime.influx import Influx
from millrace_contract.testing import Influxd, wait_until

INTERVAL_S = 1.0
LIMIT_S = 300.0
COUNT = "SELECT COUNT(s000) FROM bench WHERE time >= {first}ms AND time < {last}ms"
NEWEST = "SELECT LAST(s000) FROM bench"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def measured(on: Stage, influx: Influx, away_s: float, members: int) -> Row:
    """One outage; everything flows before and after."""

    def age_s() -> float:
        found = influx.query("telemetry", NEWEST)
        return (now_ms() - float(found[0].rows[0][0])) / 1000 if found else LIMIT_S

    def stored(first_ms: int, last_ms: int) -> int:
        found = influx.query("telemetry", COUNT.format(first=first_ms, last=last_ms))
        return int(found[0].rows[0][1]) if found else 0

    wait_until(lambda: age_s() < 2 * INTERVAL_S, "readings that are stored as they come")
    on.broker.kill()
    on.server.polls()
    first_ms = now_ms()
    time.sleep(away_s)
    served, last_ms = on.server.polls().count(), now_ms()
    on.broker.start()
    began_s = time.monotonic()
    live_s: float | None = None

    def is_done() -> bool:
        nonlocal live_s
        if live_s is None and age_s() < 2 * INTERVAL_S:
            live_s = time.monotonic() - began_s
        return live_s is not None and stored(first_ms, last_ms) >= served - 2 * members

    wait_until(is_done, "the database to hold what was read while the broker was away", LIMIT_S)
    assert live_s is not None
    return {
        "away s": away_s,
        "messages": served,
        "live again after s": round(live_s, 1),
        "caught up after s": round(time.monotonic() - began_s, 1),
    }


def outages(away_s: list[float], members: int) -> Iterator[Row]:
    with stage() as on:
        on.subscriber.stop()
        database = Influxd(on.folder / "influxd")
        database.start()
        settings = database.settings()
        token = settings.influx_token.get_secret_value()
        processes = start_gateways(on, devices(members, on.port), INTERVAL_S)
        processes.append(start_service("ingest", on.folder, on.broker, influx_url=settings.influx_url, influx_token=token))
        try:
            with Influx(settings) as influx:
                for each_s in away_s:
                    yield measured(on, influx, each_s, members)
        finally:
            for process in processes:
                process.terminate()
                process.wait(20)
            database.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--away", default="120", help="seconds, one outage after the other")
    parser.add_argument("--devices", type=int, default=100, help="of 100 signals, once a second each")
    parser.add_argument("--json", action="store_true", help="JSON, one object a line")
    options = parser.parse_args()
    show(outages([float(each) for each in options.away.split(",")], options.devices), as_json=options.json)


if __name__ == "__main__":
    main()

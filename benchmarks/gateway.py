"""What it costs to read many devices and to bring their signals to the broker through the outbox, beside Telegraf.

A Modbus server of its own process answers for every device and sees when it is read; a subscriber counts what arrives, and confirms
it as ingest would. Late is a read that begins more than a tenth of its interval later than one interval after the one before.
Telegraf (without an outbox) reads the same devices with max_insert and publishes JSON with QoS 1, where it is installed.

usage: python benchmarks/gateway.py [--case NAME ...] [--seconds N] [--rates N,N] [--without-telegraf] [--json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from _measuring import GATEWAY
from _modbus_load import CONTIGUOUS, Device, Place, Run, Stage, devices, measure, scattered, stage, start_gateways
from _telegraf import BEST, DEFAULT, find_telegraf, start_telegraf

from millrace_contract.testing import free_port

LATE_SHARE = 0.1
SUSTAINED_LATE = 0.005
Row = dict[str, object]


@dataclass(frozen=True)
class Options:
    seconds: float
    with_telegraf: bool
    rates: tuple[int, ...]


def run_gateway(
    options: Options, count: int, interval_s: float, *, signals: tuple[Place, ...] = CONTIGUOUS, gateways: int = 1
) -> Run:
    with stage() as on:
        names = [GATEWAY] if gateways == 1 else [f"bench-{number}" for number in range(1, gateways + 1)]
        members = devices(count, on.port, signals=signals, gateways=names)
        return measure(
            on,
            lambda on: start_gateways(on, members, interval_s),
            expected=count,
            signals=len(signals),
            seconds=max(options.seconds, 2.5 * interval_s),
        )


def run_telegraf(
    options: Options, count: int, interval_s: float, *, signals: tuple[Place, ...] = CONTIGUOUS, optimization: str = BEST
) -> Run | None:
    """None where it is not wanted or not there."""
    binary = find_telegraf()
    if binary is None or not options.with_telegraf:
        return None
    with stage() as on:
        members = devices(count, on.port, signals=signals)
        return measure(
            on,
            lambda on: [
                start_telegraf(
                    binary, on.folder, members, interval_s=interval_s, broker_port=on.broker.port, optimization=optimization
                )
            ],
            expected=count,
            signals=len(signals),
            seconds=max(options.seconds, 2.5 * interval_s),
        )


def row(system: str, run: Run, interval_s: float, *, asked: float | None = None, against: Run | None = None) -> Row:
    """`against`: what the ratio is to, in the same table."""
    late = run.polls.lateness(interval_s)
    return {
        "system": system,
        "asked/s": "" if asked is None else f"{asked:,.0f}",
        "signals/s": f"{run.signals_per_s:,.0f}",
        "s/M": round(run.cpu_s_per_million, 2),
        "of Telegraf": "" if against is None else f"{run.cpu_s_per_million / against.cpu_s_per_million:.2f}",
        "mosquitto s/M": round(run.broker_s_per_million, 2),
        "late %": round(100 * late_share(late), 2),
        "lateness p99 %": round(100 * quantile(late, 0.99), 1),
        "requests a poll": round(run.polls.requests / max(1, run.polls.count()), 2),
        "MB": round(run.rss_mb),
    }


def late_share(late: list[float]) -> float:
    return sum(each > LATE_SHARE for each in late) / max(1, len(late))


def quantile(values: list[float], share: float) -> float:
    return values[int(len(values) * share)] if values else 0.0


def rates(options: Options) -> Iterator[Row]:
    """100 devices, 100 float32 each, at 10,000 and 100,000 signals a second."""
    for asked in options.rates:
        interval_s = 10_000 / asked
        peer = run_telegraf(options, 100, interval_s)
        yield row("millrace", run_gateway(options, 100, interval_s), interval_s, asked=asked, against=peer)
        if peer:
            yield row("Telegraf", peer, interval_s, asked=asked)


def most(options: Options) -> Iterator[Row]:
    """The most that is sustained with under 0.5 % late reads: 100 signals a device each 100 ms, ever more devices."""
    systems: list[tuple[str, Callable[[int], Run | None]]] = [
        ("millrace", lambda count: run_gateway(options, count, 0.1)),
        ("millrace, 2 gateways", lambda count: run_gateway(options, count, 0.1, gateways=2)),
        ("Telegraf", lambda count: run_telegraf(options, count, 0.1)),
    ]
    for name, run in systems:
        for count in (100, 150, 200, 250, 300, 350, 400, 500):
            found = run(count)
            if found is None:
                break
            yield row(name, found, 0.1, asked=count * 1_000)
            late = found.polls.lateness(0.1)
            if late_share(late) >= SUSTAINED_LATE or found.signals_per_s < 0.99 * count * 1_000:
                break


def scattered_map(options: Options) -> Iterator[Row]:
    """100 signals of mixed types with gaps of 0 to 12 registers a device, 100 devices, once a second, nobody tells the gateway."""
    places = scattered()
    default = run_telegraf(options, 100, 1.0, signals=places, optimization=DEFAULT)
    best = run_telegraf(options, 100, 1.0, signals=places)
    yield row("millrace", run_gateway(options, 100, 1.0, signals=places), 1.0, asked=10_000, against=best)
    if best and default:
        yield row("Telegraf, max_insert", best, 1.0, asked=10_000)
        yield row("Telegraf, default", default, 1.0, asked=10_000)


def scale(options: Options) -> Iterator[Row]:
    """10,000 signals a second from 10, 100 and 1,000 devices."""
    for count in (10, 100, 1_000):
        interval_s = count / 100
        peer = run_telegraf(options, count, interval_s)
        yield {"devices": count, **row("millrace", run_gateway(options, count, interval_s), interval_s, asked=10_000, against=peer)}
        if peer:
            yield {"devices": count, **row("Telegraf", peer, interval_s, asked=10_000)}


def faulty(options: Options) -> Iterator[Row]:
    """100 devices once a second, 20 of them silent and 5 refusing connections: what the other 75 notice, and who comes back."""
    seconds = max(20.0, options.seconds)
    binary = find_telegraf() if options.with_telegraf else None
    for name in ["millrace", "Telegraf"] if binary else ["millrace"]:
        with stage() as on:
            members = devices(95, on.port) + devices(100, free_port())[95:]
            silent, healthy = [each.host for each in members[:20]], [each.host for each in members[20:95]]
            on.server.silence(silent)
            came_back: list[float] = []
            run = measure(
                on,
                partial(_start, members=members, binary=binary if name == "Telegraf" else None),
                expected=75,
                signals=100,
                seconds=seconds,
                then=partial(_come_back, on, silent, came_back),
            )
            late = run.polls.lateness(1.0, healthy)
            yield {
                "system": name,
                "healthy reads/s": round(run.polls.count(healthy) / seconds, 1),
                "late %": round(100 * late_share(late), 2),
                "lateness p99 %": round(100 * quantile(late, 0.99), 1),
                "lateness max %": round(100 * late[-1], 1),
                "requests to a silent one a minute": round(60 * run.polls.count(silent) / 20 / seconds, 1),
                "all silent ones read again after s": round(came_back[0], 1) if came_back else "never",
            }


def _start(on: Stage, members: list[Device], binary: Path | None) -> list[subprocess.Popen[bytes]]:
    """Telegraf where its binary is given, else the gateway; once a second."""
    if binary is None:
        return start_gateways(on, members, 1.0)
    return [start_telegraf(binary, on.folder, members, interval_s=1.0, broker_port=on.broker.port)]


def _come_back(on: Stage, silent: list[str], came_back: list[float]) -> None:
    """Let the silent devices answer, and note when the last of them was asked."""
    on.server.polls()
    on.server.silence([])
    began_s = time.monotonic()
    met: dict[str, float] = {}
    while len(met) < len(silent) and time.monotonic() < began_s + 40:
        time.sleep(1)
        begins = on.server.polls().begins
        met = {host: begins[host][0] for host in silent if host in begins} | met
    if len(met) == len(silent):
        came_back.append(max(met.values()) - began_s)


CASES: dict[str, Callable[[Options], Iterator[Row]]] = {
    "rates": rates,
    "most": most,
    "scattered": scattered_map,
    "faulty": faulty,
    "scale": scale,
}


def show(rows: Iterator[Row], *, as_json: bool) -> None:
    """A Markdown table, a line as soon as it is known; or JSON."""
    is_first = True
    for each in rows:
        if as_json:
            print(json.dumps(each), flush=True)
            continue
        if is_first:
            print("| " + " | ".join(each) + " |\n" + "|---" * len(each) + "|")
            is_first = False
        print("| " + " | ".join(str(value) for value in each.values()) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="one of them, or several; default: all")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each run counts")
    parser.add_argument("--rates", default="10000,100000", help="signals a second of the case `rates`")
    parser.add_argument("--without-telegraf", action="store_true")
    parser.add_argument("--json", action="store_true", help="JSON, one object a line")
    arguments = parser.parse_args()
    options = Options(arguments.seconds, not arguments.without_telegraf, tuple(int(each) for each in arguments.rates.split(",")))
    if options.with_telegraf and find_telegraf() is None:
        print("Telegraf is not here (PATH, ~/.cache/millrace/bin): its rows are missing; see benchmarks/README.md", file=sys.stderr)
    for name in arguments.case or CASES:
        if not arguments.json:
            print(f"\n**{name}**: {(CASES[name].__doc__ or '').strip()}\n", flush=True)
        show(CASES[name](options), as_json=arguments.json)


if __name__ == "__main__":
    main()

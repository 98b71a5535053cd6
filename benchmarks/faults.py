"""Kill -9 and hang ingest, broker and database at random, alone and two at once, at full rate; then count what the database holds.

A sender with a real outbox keeps each message until ingest has confirmed it. Victims, times and pauses follow from the seed. What
ended itself is started again after a second, as a restart policy would. At the end every part is well, the outbox drains, and each
message is looked for in the database by its content. With --peer telegraf the same messages go through Telegraf (mqtt_consumer with
QoS 1 and a persistent session) in ingest's place; nobody confirms then, so the outbox is content with the broker's word.

usage: python benchmarks/faults.py [--minutes N] [--seed N] [--replicas N] [--rate N] [--size N] [--away-s N]
       [--peer telegraf]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from _fault_load import DEVICES, Sender, Tally, count_stored
from _measuring import ROOT, Cost, start_service, write_plant
from _telegraf import find_telegraf

from millrace_contract.testing import Influxd, Mosquitto, wait_until

BROKER = "allow_anonymous true\nautosave_interval 60\nmax_inflight_messages 1000\nmax_queued_bytes 4000000000"
"""As mosquitto/mosquitto.conf, without accounts, and with room for a whole run in the queue: Telegraf has no other store."""
SHORTEST_AWAY_S = 1.0
CALM = (0.15, 0.6)
"""How long all is well between two rounds of faults, in parts of the longest absence."""
DRAIN_LIMIT_S = 900.0
PEER_SILENCE_S = 60.0

TELEGRAF = """[agent]
  interval = "1s"
  flush_interval = "1s"
  metric_batch_size = 5000
  metric_buffer_limit = 1000000
  omit_hostname = true
[[inputs.mqtt_consumer]]
  startup_error_behavior = "retry"
  servers = ["tcp://127.0.0.1:{mqtt_port}"]
  topics = ["{root}/+/+/telemetry"]
  qos = 1
  persistent_session = true
  client_id = "telegraf"
  max_undelivered_messages = 20000
  data_format = "json"
  json_time_key = "timestamp"
  json_time_format = "2006-01-02T15:04:05Z07:00"
  topic_tag = ""
  name_override = "bench"
  [[inputs.mqtt_consumer.topic_parsing]]
    topic = "{root}/+/+/telemetry"
    tags = "_/line/device/_"
[[outputs.influxdb_v2]]
  urls = ["{influx_url}"]
  token = "{influx_token}"
  organization = "{influx_org}"
  bucket = "telemetry"
"""


@dataclass
class Part:
    """Something that is killed and started again."""

    name: str
    start: Callable[[], None]
    process: Callable[[], subprocess.Popen[bytes] | None]
    is_up: bool = True
    is_hung: bool = False
    rss_mb: float = 0.0

    def look(self) -> None:
        """Note its memory; start it again when it ended itself."""
        process = self.process()
        if not self.is_up or process is None:
            return
        if process.poll() is not None:
            say(f"{self.name} ended itself with {process.returncode}")
            time.sleep(1)
            self.start()
        else:
            self.rss_mb = max(self.rss_mb, Cost.of(process.pid).rss_mb)

    def take_down(self, *, hang: bool) -> None:
        process = self.process()
        assert process is not None
        self.is_up, self.is_hung = False, hang
        os.kill(process.pid, signal.SIGSTOP if hang else signal.SIGKILL)
        if not hang:
            process.wait(10)

    def bring_back(self) -> None:
        process = self.process()
        if self.is_hung and process is not None:
            os.kill(process.pid, signal.SIGCONT)
        else:
            self.start()
        self.is_up, self.is_hung = True, False


class Service:
    """A process of ours or of the peer, started by a function."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = self._start()

    def current(self) -> subprocess.Popen[bytes] | None:
        return self.process


@dataclass(frozen=True)
class Options:
    seconds: float
    seed: int
    replicas: int
    rate: float
    size: int
    away_s: float
    peer: str


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def ingests(options: Options, folder: Path, broker: Mosquitto, database: Influxd) -> dict[str, Service]:
    settings = database.settings()
    token = settings.influx_token.get_secret_value()
    if options.peer == "telegraf":
        binary = find_telegraf()
        if binary is None:
            raise SystemExit("faults: telegraf is not on this machine")
        file = folder / "telegraf.conf"
        names = {"mqtt_port": broker.port, "root": ROOT, "influx_url": database.url, "influx_token": token}
        file.write_text(TELEGRAF.format(influx_org=settings.influx_org, **names))
        log = (folder / "telegraf.log").open("ab")
        return {"telegraf": Service(lambda: subprocess.Popen([str(binary), "--config", str(file)], stdout=log, stderr=log))}
    group = {"ingest_share_group": "ingest"} if options.replicas > 1 else {}

    def started_by(number: int) -> Callable[[], subprocess.Popen[bytes]]:
        own = {"instance": str(number), "data": folder / f"ingest-{number}", **group}
        return lambda: start_service("ingest", folder, broker, influx_url=settings.influx_url, influx_token=token, **own)

    return {f"ingest-{number}": Service(started_by(number)) for number in range(1, options.replicas + 1)}


def round_of_faults(dice: random.Random, parts: list[Part], done: Counter[str], longest_s: float, until_s: float) -> None:
    """One or two victims, killed or hung, each back after a time of its own."""
    kind = dice.choices(("kill", "kill two", "hang"), (5, 3, 2))[0]
    victims = dice.sample(parts, 2 if kind == "kill two" else 1)
    away_s = {victim.name: dice.uniform(SHORTEST_AWAY_S, longest_s) for victim in victims}
    calm_s = longest_s * dice.uniform(*CALM)
    began_s = time.monotonic()
    say(f"{kind}: " + ", ".join(f"{name} for {seconds:.1f} s" for name, seconds in away_s.items()))
    for victim in victims:
        victim.take_down(hang=kind == "hang")
        done[f"{kind} {' + '.join(sorted(away_s))}"] += victim is victims[0]
    down = list(victims)
    while down:
        time.sleep(0.2)
        for victim in [one for one in down if time.monotonic() >= began_s + away_s[one.name]]:
            victim.bring_back()
            down.remove(victim)
        for part in parts:
            part.look()
    calm_until_s = min(time.monotonic() + calm_s, until_s)
    while time.monotonic() < calm_until_s:
        time.sleep(0.2)
        for part in parts:
            part.look()


def settled(parts: list[Part], is_done: Callable[[], bool], limit_s: float) -> bool:
    deadline_s = time.monotonic() + limit_s
    while not is_done():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.2)
        for part in parts:
            part.look()
    return True


def run(options: Options, folder: Path) -> dict[str, object]:
    dice = random.Random(options.seed)
    broker, database = Mosquitto(folder / "mosquitto", BROKER), Influxd(folder / "influxd")
    broker.start()
    database.start()
    write_plant(folder / "config", devices=DEVICES, signals=options.size, interval_s=1)
    services = ingests(options, folder, broker, database)
    servers = [Part("mosquitto", broker.start, lambda: broker.process), Part("influxd", database.start, lambda: database.process)]
    parts = servers + [Part(name, one.start, one.current) for name, one in services.items()]
    sender = Sender(folder, broker, options.rate, options.size, "broker" if options.peer else "stored")
    done: Counter[str] = Counter()
    highest = 0
    try:
        for one in services.values():
            one.start()
        sender.start()
        wait_until(lambda: sender.stats().confirmed > options.rate, "the first messages to be stored", 60)
        began_s = time.monotonic()
        while time.monotonic() < began_s + options.seconds:
            round_of_faults(dice, parts, done, options.away_s, began_s + options.seconds)
            highest = max(highest, sender.stats().depth)
            say(f"sent {sender.total}, outbox {sender.stats().depth}")
        duration_s = time.monotonic() - began_s
        sender.end()
        ended_s = time.monotonic()
        is_drained = settled(parts, sender.is_drained, DRAIN_LIMIT_S)
        drain_s = time.monotonic() - ended_s
        say(f"drained: {is_drained}, after {drain_s:.0f} s; counting")
        tally = final_count(options, database, sender)
        stats = sender.stats()
    finally:
        sender.stop()
        for service in services.values():
            if service.process is not None and service.process.poll() is None:
                os.kill(service.process.pid, signal.SIGCONT)
                service.process.terminate()
                service.process.wait(30)
        broker.stop()
        database.stop()
    return {
        "path": options.peer or f"ingest x {options.replicas}",
        "seed": options.seed,
        "minutes": round(duration_s / 60, 1),
        "messages_per_s": round(sender.total / duration_s),
        "readings_per_s": round(sender.total * options.size / duration_s),
        "faults": sum(done.values()),
        "by_kind": dict(sorted(done.items())),
        "sent": sender.total,
        "stored": tally.stored,
        "lost": tally.lost,
        "duplicated": tally.duplicated,
        "wrong": tally.wrong,
        "dropped_by_outbox": stats.dropped,
        "sent_again": stats.resent,
        "highest_outbox": highest,
        "drained": is_drained,
        "drain_s": round(drain_s, 1),
        "rss_mb": {part.name: round(part.rss_mb) for part in parts},
    }


def final_count(options: Options, database: Influxd, sender: Sender) -> Tally:
    """The peer tells nobody when it has finished: its count is the one that no longer grows."""
    fields = "readings_{}" if options.peer else "{}"
    tally = count_stored(database.settings(), sender.sent, options.size, fields)
    grown_s = time.monotonic()
    while options.peer and tally.lost and time.monotonic() < grown_s + PEER_SILENCE_S:
        time.sleep(5)
        again = count_stored(database.settings(), sender.sent, options.size, fields)
        if again.stored != tally.stored:
            grown_s = time.monotonic()
        tally = again
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1, help="how long faults are made; the draining comes on top")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=1, help="ingests that share the messages")
    parser.add_argument("--rate", type=float, default=1_000, help="messages a second")
    parser.add_argument("--size", type=int, default=20, help="readings a message")
    parser.add_argument("--away-s", type=float, default=20, help="seconds that a part stays away at most")
    parser.add_argument("--peer", choices=["telegraf"], default="", help="in ingest's place")
    asked = parser.parse_args()
    options = Options(asked.minutes * 60, asked.seed, asked.replicas, asked.rate, asked.size, asked.away_s, asked.peer)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        found = run(options, Path(folder))
    print(json.dumps(found), flush=True)
    sys.exit(bool(found["lost"] or found["duplicated"] or found["wrong"] or not found["drained"]))


if __name__ == "__main__":
    main()

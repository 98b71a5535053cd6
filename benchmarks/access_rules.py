"""What access rules cost the broker: CPU for each message of one gateway of many devices, beside an account that may write any.

Both kinds of rules are rendered as for a plant, and take turns: pairs of runs, each with a broker of its own. Prints one JSON
object a plant: `alone` (each line is this gateway's) and `shared` (half of each line is another's).

usage: python benchmarks/access_rules.py [--devices N] [--lines N] [--messages N] [--pairs N]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from _measuring import BROKER, Cost

from millrace_admin.broker_accounts import Account, Rights, Role, render_access_rules
from millrace_contract.language.topics import Topics
from millrace_contract.runtime.mqtt.lean_session import LeanSession
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.testing import Mosquitto, wait_until

ROOT, INSTANCE = "bench", "edge-1"
AHEAD = 500
PAYLOAD = b"x" * 430


def plant(devices: int, lines: int, *, is_shared: bool) -> Rights:
    """The gateway's `devices` on `lines`; where they are shared, as many of another gateway."""
    places: dict[str, tuple[str, ...]] = {f"D{number:04}": (f"line{number % lines}",) for number in range(devices)}
    gateways: dict[str, tuple[str, ...]] = dict.fromkeys(places, (INSTANCE,))
    if is_shared:
        others: dict[str, tuple[str, ...]] = {f"E{number:04}": (f"line{number % lines}",) for number in range(devices)}
        places, gateways = places | others, gateways | dict.fromkeys(others, ("edge-2",))
    return Rights(tuple(f"line{number}" for number in range(lines)), gateways, frozenset(places), places)


def run(folder: Path, rights: Rights, count: int, *, instance: str | None) -> float:
    """CPU microseconds of the broker for each message that goes from the gateway to ingest."""
    gateway = Account("gateway", Role.GATEWAY, "", "", instance=instance)
    folder.chmod(0o755)
    rules = folder / "access.acl"
    rules.write_text(render_access_rules(ROOT, [gateway, Account("ingest", Role.INGEST, "", "")], rights))
    broker = Mosquitto(folder / "broker", f"{BROKER}\nacl_file {rules}")
    broker.start()
    answered = received = 0

    def note(_token: int, is_taken: bool) -> None:
        nonlocal answered
        assert is_taken
        answered += 1

    def take(messages: list[Received]) -> None:
        nonlocal received
        received += len(messages)

    consumer = LeanSession(broker.settings("ingest"), "ingest", Callbacks(messages=take), filters=[f"{ROOT}/+/+/telemetry"])
    sender = LeanSession(broker.settings("gateway"), "gateway", Callbacks(published=note))
    try:
        for session in (consumer, sender):
            session.start()
            assert session.wait_connected(10)
        own = [device for device, readers in rights.gateways.items() if INSTANCE in readers]
        topics = [Topics(ROOT).telemetry(rights.places[device][0], device) for device in own]
        before = Cost.of(broker.pid)
        for number in range(count):
            while number - answered >= AHEAD:
                time.sleep(0.001)
            assert sender.publish(topics[number % len(topics)], PAYLOAD) is not None
        wait_until(lambda: received == count, "all messages", 120)
        return Cost.of(broker.pid).per_million(before, count)
    finally:
        sender.stop()
        consumer.stop()
        broker.stop()


def measure(rights: Rights, count: int, pairs: int) -> dict[str, object]:
    costs: dict[str, list[float]] = {"any": [], "own": []}
    for number in range(pairs):
        for form in ("any", "own") if number % 2 == 0 else ("own", "any"):
            with tempfile.TemporaryDirectory() as folder:
                costs[form].append(run(Path(folder), rights, count, instance=INSTANCE if form == "own" else None))
    ratios = [own / free for free, own in zip(costs["any"], costs["own"], strict=True)]
    return {
        "any_us": round(statistics.median(costs["any"]), 1),
        "own_us": round(statistics.median(costs["own"]), 1),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_of_sums": round(sum(costs["own"]) / sum(costs["any"]), 3),
        "pairs": pairs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--lines", type=int, default=10)
    parser.add_argument("--messages", type=int, default=150_000)
    parser.add_argument("--pairs", type=int, default=8)
    options = parser.parse_args()
    for name, is_shared in (("alone", False), ("shared", True)):
        rights = plant(options.devices, options.lines, is_shared=is_shared)
        print(json.dumps({"plant": name, **measure(rights, options.messages, options.pairs)}), flush=True)


if __name__ == "__main__":
    main()

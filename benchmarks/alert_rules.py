"""How many readings a second one core evaluates with 500 rules: the real receiver and watch, messages as gateways send them.

    python benchmarks/alert_rules.py --rules 500 --devices 100 --signals 20

Prints CPU time, which another program on the machine does not change. No broker and no store: what is counted is decoding a
message, finding the rules that it concerns, and evaluating them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from millrace_alerts.receiver import AlertsReceiver, NoSurroundings
from millrace_alerts.records import Saved
from millrace_alerts.rules import watched_rules
from millrace_alerts.watch import Watch
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Topics
from millrace_contract.plant import load_alert_rules, load_plant
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.mqtt.session import Received

START_MS = 1_760_000_000_000
TICKS_A_SECOND = 5
KINDS = (
    "{{kind: threshold, signal: s{0}, above: 90, deadband: 2}}",
    "{{kind: threshold, signal: s{0}, below: -1}}",
    "{{kind: levels, signal: s{0}, h: {{at: 90}}, hh: {{at: 95}}}}",
    "{{kind: rate_of_change, signal: s{0}, above: 500, over_s: 60}}",
    "{{kind: combination, all: [{{kind: threshold, signal: s{0}, above: 90}}, {{kind: threshold, signal: s{1}, above: 90}}]}}",
    "{{kind: deviation, signal: s{0}, setpoint: s{1}, by: 200}}",
    "{{kind: stuck, signal: s{0}, after_s: 600}}",
    "{{kind: value, signal: s{0}, equals: 777}}",
)


def write_plant(folder: Path, devices: int, signals: int, rules: int) -> None:
    (folder / "profiles").mkdir()
    lines = "\n".join(f"  s{n}: {{address: {2 * n}, type: float32}}" for n in range(signals))
    head = "title: T\nasset_class: other\nsource: made up\nverified: simulator\ngroups: {fast: {interval_s: 1}}\nsignals:\n"
    (folder / "profiles" / "p.yaml").write_text(head + lines + "\n")
    connection = "connection: {host: 127.0.0.1, port: 5020}"
    places = "\n".join(f"      D{n}: {{profile: p, {connection}}}" for n in range(devices))
    (folder / "plant.yaml").write_text(f"root: factory\ntime_zone: UTC\nlines:\n  line1:\n    devices:\n{places}\n")
    written = [
        f"  r{n}: {{title: R, class: maintenance, where: {{devices: [D{n % devices}]}}, "
        f"condition: {KINDS[n % len(KINDS)].format(n % signals, (n + 1) % signals)}}}"
        for n in range(rules)
    ]
    (folder / "alerts.yaml").write_text("rules:\n" + "\n".join(written) + "\n")


def messages(devices: int, signals: int, seconds: int) -> Iterator[tuple[int, Received]]:
    for second in range(seconds):
        at_ms = START_MS + second * 1000
        for device in range(devices):
            readings = {f"s{n}": (second * 7 + n * 3 + device) % 80 + 0.5 for n in range(signals)}
            body = {"timestamp": format_timestamp(at_ms), "readings": readings, "stream": "edge-1.a1", "seq": second + 1}
            body["prev"] = second or None
            yield at_ms, Received(f"factory/line1/D{device}/telemetry", json.dumps(body).encode(), False, 1, 1, 0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rules", type=int, default=500)
    options.add_argument("--devices", type=int, default=100)
    options.add_argument("--signals", type=int, default=20)
    options.add_argument("--seconds", type=int, default=60)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_plant(folder, chosen.devices, chosen.signals, chosen.rules)
        plant = load_plant(folder)
        watch = Watch(plant, watched_rules(plant, load_alert_rules(folder, plant)), Saved())
    receiver = AlertsReceiver(plant, Topics("factory"), NoSurroundings())
    made = list(messages(chosen.devices, chosen.signals, chosen.seconds))
    evaluation_s = ticks_s = 0.0
    second_ms = 0
    for at_ms, received in made:
        if at_ms != second_ms:
            second_ms, before = at_ms, time.process_time()
            for tick in range(TICKS_A_SECOND):
                watch.tick(at_ms - 1_000 + tick * 1000 // TICKS_A_SECOND)
            ticks_s += time.process_time() - before
        before = time.process_time()
        receiver.receive(received, watch, Now(at_ms / 1000, at_ms))
        evaluation_s += time.process_time() - before
    readings = chosen.devices * chosen.signals * chosen.seconds
    print(f"{chosen.rules} rules, {readings} readings in {chosen.seconds} s of the plant, {len(made)} messages")
    print(f"readings:  {readings / evaluation_s:10.0f} a second of one core ({evaluation_s / len(made) * 1e6:.0f} us a message)")
    share = ticks_s / chosen.seconds * 100
    print(f"ticks:     {share:10.1f} % of one core ({TICKS_A_SECOND} a second over {len(watch.alerts)} alerts)")


if __name__ == "__main__":
    main()

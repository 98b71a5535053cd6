"""What it costs to read many devices and bring their signals to the broker through the outbox.

A fast Modbus server of its own process answers for every device and counts what it serves; a subscriber counts what arrives, and
confirms it as ingest would. Late cycles are the gateway's own count. Prints one JSON object a rate.

usage: python benchmarks/gateway.py [--rates 10000,100000] [--devices 100] [--signals 100]
       python benchmarks/gateway.py --serve PORT
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from _measuring import BROKER, GATEWAY, ROOT, Cost, start_service, write_plant

from millrace_contract.messages import Status, Stored, decode, encode
from millrace_contract.ranges import merge_ranges
from millrace_contract.runtime.session import Callbacks, Received
from millrace_contract.runtime.wire_session import WireSession
from millrace_contract.testing import Mosquitto, free_port, wait_until
from millrace_contract.topics import Kind, Topics

TOPICS = Topics(ROOT)
STATUS = TOPICS.status("gateway", GATEWAY)
TAKING = TOPICS.status("ingest", "1")
NUMBER = re.compile(rb'"stream":"([^"]+)","seq":(\d+)')
CONFIRM_S = 0.25
REGISTERS = struct.pack(">100f", *(20 + place / 7 for place in range(100)))


class Device(asyncio.Protocol):
    """Modbus TCP, function code 3, 200 registers that never change."""

    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._answers: dict[bytes, bytes] = {}

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data) - 11, 12):
            request = data[at + 6 : at + 12]
            answer = self._answers.get(request)
            if answer is None:
                unit, function, address, count = struct.unpack(">BBHH", request)
                registers = REGISTERS[2 * address : 2 * (address + count)]
                answer = struct.pack(">HHBBB", 0, 3 + len(registers), unit, function, len(registers)) + registers
                self._answers[request] = answer
            Device.served += 1
            self._transport.write(data[at : at + 2] + answer)


async def serve(port: int) -> None:
    """Until killed; prints how many requests were answered at each SIGUSR1."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, lambda: print(Device.served, flush=True))
    server = await loop.create_server(Device, "0.0.0.0", port, backlog=1_000)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


class Subscriber:
    """Counts messages of telemetry and confirms them; hears the gateway's own status."""

    def __init__(self, broker: Mosquitto) -> None:
        self.messages = 0
        self.backfill = 0
        self.figures: list[dict[str, float | None]] = []
        self._seqs: dict[str, list[tuple[int, int]]] = {}
        self._lock = threading.Lock()
        callbacks = Callbacks(message=self._take, connected=self._connected)
        filters = [*TOPICS.filters(Kind.TELEMETRY), STATUS]
        self.session = WireSession(broker.settings(), "ingest-1", callbacks, filters=filters, receive_maximum=10_000)
        self.session.start()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._confirm, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self.session.stop()

    def _connected(self) -> None:
        self.session.publish(TAKING, encode(Status(service="ingest", instance="1", alive=True, taking=True)), retain=True)

    def _take(self, received: Received) -> None:
        if received.topic == STATUS:
            self.figures.append(dict(decode(Status, received.payload).figures))
            return
        self.messages += 1
        self.backfill += b'"backfill"' in received.payload
        found = NUMBER.search(received.payload)
        assert found is not None
        seq = int(found[2])
        with self._lock:
            self._seqs.setdefault(found[1].decode(), []).append((seq, seq))

    def _confirm(self) -> None:
        while not self._stopping.wait(CONFIRM_S):
            with self._lock:
                taken, self._seqs = self._seqs, {}
            for stream, seqs in taken.items():
                self.session.publish(TOPICS.stored(GATEWAY), encode(Stored(stream=stream, seqs=merge_ranges(seqs))))


def measure(folder: Path, rate: int, devices: int, signals: int) -> dict[str, object]:
    port, interval_s = free_port(), devices * signals / rate
    broker = Mosquitto(folder / "mosquitto", BROKER)
    broker.start()
    write_plant(folder / "config", devices=devices, signals=signals, interval_s=interval_s, port=port)
    server = subprocess.Popen([sys.executable, __file__, "--serve", str(port)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    subscriber = Subscriber(broker)
    gateway = start_service("gateway", folder, broker, instance=GATEWAY)

    def served() -> int:
        server.send_signal(signal.SIGUSR1)
        assert server.stdout is not None
        return int(server.stdout.readline())

    def state() -> tuple[int, int, Cost, Cost, float]:
        return served(), subscriber.messages, Cost.of(gateway.pid), Cost.of(broker.pid), time.monotonic()

    try:
        # Between two of the gateway's words about itself, which come every 10 s: so all counts are of one stretch of time.
        wait_until(lambda: len(subscriber.figures) >= 2, "the gateway to warm up", 60)
        before, first = state(), subscriber.figures[-1]
        heard = len(subscriber.figures)
        wait_until(lambda: len(subscriber.figures) >= heard + 2, "the gateway's status", 60)
        after, last = state(), subscriber.figures[-1]
    finally:
        gateway.terminate()
        gateway.wait(20)
        subscriber.stop()
        server.kill()
        server.wait()
        server.stdout.close()
        broker.stop()
    duration_s, count = after[4] - before[4], (after[1] - before[1]) * signals
    cycles, late, missed = ((last[name] or 0) - (first[name] or 0) for name in ("cycles", "late_cycles", "missed_cycles"))
    return {
        "asked_per_s": rate,
        "signals_per_s": round(count / duration_s),
        "requests_per_s": round((after[0] - before[0]) / duration_s),
        "backfill": subscriber.backfill,
        "outbox_messages": last["outbox_messages"],
        "cycles": cycles,
        "late_share": round(late / cycles, 5),
        "missed_cycles": missed,
        "cpu_s_per_million": {
            "gateway": after[2].per_million(before[2], count),
            "mosquitto": after[3].per_million(before[3], count),
        },
        "rss_mb": round(after[2].rss_mb),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="10000,100000", help="signals a second")
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--signals", type=int, default=100, help="float32 a device, at most 100")
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve))
        return
    for rate in options.rates.split(","):
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(Path(folder), int(rate), options.devices, options.signals)), flush=True)


if __name__ == "__main__":
    main()

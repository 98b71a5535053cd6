"""A process killed with -9 at random instants, again and again on one outbox: what it published was committed, without gaps."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from millrace_contract.testing.outboxes import numbers, open_at

pytestmark = pytest.mark.process

KILLS = 8

# It appends without end from several threads' worth of batches, prints each message that it publishes, and confirms about half.
PROGRAM = """
import itertools, json, random, sys, time
from pathlib import Path
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.store_forward.outbox_thread import OutboxThread
from millrace_contract.testing.outboxes import LEDGER, SENDER, telemetry

token = itertools.count(1)

def publish(topic, payload):
    message = json.loads(payload)
    is_stored = random.random() < 0.5
    print(message["stream"], message["seq"], int(is_stored), flush=True)
    number = next(token)
    outbox.published(number, True)
    if is_stored:
        outbox.confirmed(message["stream"], [(message["seq"], message["seq"])])
    return number

clock = SystemClock()
outbox = OutboxThread(Path(sys.argv[1]), SENDER, publish, ledger_topic=LEDGER, encode_loss=ledger_encoder("gateway", "1"),
                      clock=clock, window=50, live_limit=100)
outbox.connected()
outbox.start()
while True:
    outbox.append([telemetry(random.choice("ABCDE"), clock.now_ms(), "x" * random.randrange(3000)) for _ in range(20)])
    time.sleep(0.002)
"""


def test_killed_at_any_instant_nothing_committed_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    chance = random.Random(17)
    published: set[int] = set()
    stored: set[int] = set()
    streams: set[str] = set()
    for _ in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(chance.randrange(1, 600)):
            _note(child.stdout.readline(), streams, published, stored)
        child.kill()
        for line in child.stdout:
            if line.endswith("\n"):
                _note(line, streams, published, stored)
        child.stdout.close()
        assert child.wait(10) == -9
        _check(path, published, stored)
    assert len(streams) == 1
    assert len(published) > 500


def _note(line: str, streams: set[str], published: set[int], stored: set[int]) -> None:
    stream, seq, is_stored = line.split()
    streams.add(stream)
    published.add(int(seq))
    if is_stored == "1":
        stored.add(int(seq))


def _check(path: Path, published: set[int], stored: set[int]) -> None:
    """Every published number is held or stored, none is missing, and each device's chain is whole and grows in time."""
    file = open_at(path)
    assert file.set_aside is None
    rows = file.outbox.peek(0, 10**6)
    held = {row.seq for row in rows}
    given = numbers(file.outbox.ids(file.outbox.stream, [(1, 10**9)]))
    assert file.outbox.depth == len(rows)
    assert published <= given
    assert given == held | stored
    last: dict[str, tuple[int, int]] = {}
    for row in rows:
        message = json.loads(row.payload)
        assert message["seq"] == row.seq
        if row.device in last:
            seq, timestamp_ms = last[row.device]
            assert message["prev"] == seq or (message["prev"] > seq and message["prev"] in stored)
            assert message["timestamp_ms"] > timestamp_ms
        assert row.device is not None
        last[row.device] = (row.seq, message["timestamp_ms"])
    file.close()

"""`read` of a device that sends messages: values beside what stands in one."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from millrace_contract.plant import Device, PlantModel
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.runtime.tables import aligned
from millrace_contract.store_forward.store_file import is_in_use

from ..place_arguments import mistake
from ..sensors.commission import SensorRead, listen, read_message
from ..settings import GatewaySettings


def show_message(options: argparse.Namespace, settings: GatewaySettings, plant: PlantModel, device: Device) -> int:
    """Its next message, or the one that was handed over: what the gateway makes of it."""
    clock, topics = SystemClock(), plant.topics_of(device.id)
    is_well, is_heard = True, False
    try:
        for received in _messages_of(options, settings, device.id, topics, clock):
            is_heard = True
            found = read_message(device, plant.profile_of(device.id), plant.zone, received, clock.now_ms())
            is_well &= found.problem is None and all(each.quality in ("good", "-") for each in found.readings)
            _print_sensor(found, as_json=options.json)
    except OSError as error:
        sys.stderr.write(f"{device.id}: {error}\n")
        return EXIT_NOT_WELL
    if not is_heard:
        where = f"nothing came on {', '.join(topics)} within {options.wait:g} s"
        sys.stderr.write(f"{device.id}: {where}: does it send there, and may account gateway-{settings.instance} read it?\n")
    return EXIT_WELL if is_well and is_heard else EXIT_NOT_WELL


def _messages_of(
    options: argparse.Namespace, settings: GatewaySettings, device: str, topics: tuple[str, ...], clock: Clock
) -> Iterable[Received]:
    if options.message is None:
        if is_in_use(settings.data / "outbox.sqlite"):
            raise mistake(
                "DEVICE",
                f"gateway {settings.instance} runs, and has the one connection of its account with the broker: stop it while you "
                f"ask, or hand over a message of the device: ... | millrace-gateway read {device} --message -",
            )
        return listen(settings, f"gateway-{settings.instance}", topics, options.wait, clock)
    topic = options.topic or topics[0]
    if topic not in topics or (options.topic is None and len(topics) > 1):
        raise mistake("--topic", f"{device} sends on {', '.join(topics)}: say which of them the message came on")
    try:
        payload = sys.stdin.buffer.read() if options.message == "-" else Path(options.message).read_bytes()
    except OSError as error:
        raise mistake("--message", f"{options.message} cannot be read: {error.strerror}") from error
    return [Received(topic, payload.rstrip(b"\r\n"), retained=False, qos=0, mid=0, generation=0)]


def _print_sensor(found: SensorRead, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dataclasses.asdict(found)))
        return
    if found.problem is not None:
        print(f"{found.topic}: {found.problem}")
        return
    rows = [
        (each.signal, "-" if each.value is None else repr(each.value), each.unit, each.quality, each.path, each.raw or "-")
        for each in found.readings
    ]
    print(f"{found.topic}, {found.time}\n\n{aligned(('signal', 'value', 'unit', 'quality', 'path', 'in the message'), rows)}")
    for reason in dict.fromkeys(each.reason for each in found.readings if each.reason):
        print(reason)

"""`read`: one device once, values beside raw registers."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from millrace_contract.plant import load_plant
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.tables import aligned

from ..commission import read_device
from ..place_arguments import mistake
from ..settings import GatewaySettings
from .named_device import device_of
from .read_sensor import show_message


def show_device(options: argparse.Namespace, settings: GatewaySettings) -> int:
    """`read`: one device once, values beside raw registers, or beside its message."""
    plant = load_plant(settings.config)
    device = device_of(plant, options.device)
    if device.connection.sends_messages:
        return show_message(options, settings, plant, device)
    if options.message is not None or options.topic is not None:
        raise mistake("--message", f"{device.id} is asked over {device.connection.transport}; it sends no messages")
    readings, fault = read_device(device, plant.profile_of(device.id))
    if options.json:
        for reading in readings:
            print(json.dumps(dataclasses.asdict(reading)))
    else:
        rows = [
            (
                reading.signal,
                "-" if reading.value is None else repr(reading.value),
                reading.unit,
                reading.quality,
                f"{reading.table} {reading.address}",
                f"{reading.type} {reading.order}",
                " ".join(f"{word:04x}" for word in reading.raw),
            )
            for reading in readings
        ]
        print(aligned(("signal", "value", "unit", "quality", "place", "type", "registers (hex)"), rows))
        for reason in dict.fromkeys(reading.reason for reading in readings if reading.reason):
            print(reason)
    if fault is not None:
        sys.stderr.write(f"{device.id}: {fault.reason}\n")
        if fault.kind == "closed":  # How most devices show that they take no further connection.
            holder = f"gateway {device.gateway}, where it runs, holds a connection to it"
            sys.stderr.write(f"Some devices take one connection only, and the {holder}: stop it while you ask.\n")
    return EXIT_WELL if all(reading.quality == "good" for reading in readings) else EXIT_NOT_WELL

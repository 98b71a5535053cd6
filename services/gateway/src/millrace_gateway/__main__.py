"""The command line: run, plan, read, probe, scan, profile import."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from millrace_contract.plant import Device, PlantModel, load_plant
from millrace_contract.plant.document import nearest
from millrace_contract.runtime.clock import Clock, SystemClock
from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL, add_common_arguments, add_version, answer_mistakes
from millrace_contract.runtime.mqtt.session import Received
from millrace_contract.runtime.settings import load_settings, variable
from millrace_contract.runtime.tables import aligned
from millrace_contract.store_forward.store_file import is_in_use

from .blocks import FUNCTION_CODES
from .commission import check_profile, read_around, read_device
from .faults import MisnumberedAnswer, ReadFault
from .fleet import select_fleet
from .learned import load_learned
from .place_arguments import add_place_arguments, mistake, place_of
from .polling_cost import DeviceCost, fleet_costs
from .probe import Decoding, candidates
from .registers import ORDERS
from .scan import ALL_ANSWER, LIKELY_PLACES, LIKELY_UNITS, ScannedUnit, scan
from .sensors.commission import SensorRead, listen, read_message, sensor_plans
from .service import serve
from .settings import GatewaySettings
from .tag_lists import as_text, import_tags


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `millrace-gateway`; returns the exit status."""
    options = _parser().parse_args(arguments)
    return answer_mistakes(lambda: int(options.command(options)), as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="millrace-gateway", description="Reads Modbus devices; never writes to one.")
    add_version(parser, "millrace-gateway")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="serve: read the devices that name this gateway, keep and send what they say")
    run.set_defaults(command=_run)

    plan = commands.add_parser("plan", help="the requests, registers and time that polling costs, before anything runs")
    plan.add_argument("devices", nargs="*", metavar="DEVICE", help="only these, each request listed (default: all)")
    plan.set_defaults(command=_plan)

    read = commands.add_parser("read", help="read one device once: values beside raw registers, or beside its message")
    read.add_argument("device", metavar="DEVICE")
    of_sensors = read.add_argument_group("of a device with transport mqtt")
    of_sensors.add_argument("--wait", type=float, default=60.0, metavar="S", help="how long to wait for its message (default 60)")
    of_sensors.add_argument("--message", metavar="FILE", help="a message of it, in place of the broker; - is standard input")
    of_sensors.add_argument("--topic", metavar="TOPIC", help="with --message: which of its topics it came on, where it has several")
    read.set_defaults(command=_read)

    probe = commands.add_parser("probe", help="decode one address in every type and order")
    add_place_arguments(probe, timeout_s=1.0)
    probe.add_argument("--unit", type=int, default=1, metavar="N", help="unit id (default 1)")
    probe.add_argument(
        "--address", type=int, required=True, metavar="A", help="zero-based protocol address: a manual's 40011 is 10"
    )
    probe.add_argument("--table", choices=list(FUNCTION_CODES), default="holding")
    probe.add_argument("--expect", metavar="X", help="the value that the machine shows now")
    probe.set_defaults(command=_probe)

    scanned = commands.add_parser("scan", help="the units that answer at a host, their largest request and shortest pause")
    add_place_arguments(scanned, timeout_s=0.5)
    scanned.add_argument("--units", metavar="N,N-M", help="unit ids to ask (default: all from 0 to 247 and 255, likely ones first)")
    scanned.add_argument("--table", choices=["holding", "input"], default="holding", help="with --address (default holding)")
    scanned.add_argument("--address", type=int, metavar="A", help="a zero-based address that can be read (default: likely ones)")
    scanned.set_defaults(command=_scan)

    profile = commands.add_parser("profile", help="make a device profile").add_subparsers(required=True, metavar="WHAT")
    imported = profile.add_parser("import", help="from a tag list as people have them; prints the profile, and notes on the rest")
    imported.add_argument("file", type=Path, metavar="LIST", help="recognised by its content, whatever it is called")
    imported.add_argument("--title", help="what people call the device (default: the file's name)")
    imported.add_argument("--device", metavar="NAME", help="which device of a list that holds several")
    imported.add_argument("--order", choices=list(ORDERS), help="word order of the values for which the list gives none")
    imported.add_argument("--model-at", type=int, metavar="A", help="of a SunSpec model: the zero-based address of its number")
    imported.set_defaults(command=_import)

    for each in (run, plan, read, probe, scanned, imported):
        add_common_arguments(each)
    return parser


def _settings(options: argparse.Namespace) -> GatewaySettings:
    """For commands that look at devices and plan: the file of the account may not be there yet."""
    password = f"{variable('mqtt_password')}_FILE"
    is_missing = not Path(os.environ.get(password, "")).exists()
    environ = {name: value for name, value in os.environ.items() if name != password or not is_missing}
    return load_settings(GatewaySettings, environ, config=options.config)


def _run(options: argparse.Namespace) -> int:
    log_format = "json" if options.json else None
    return serve(load_settings(GatewaySettings, os.environ, config=options.config, log_format=log_format))


def _plan(options: argparse.Namespace) -> int:
    settings = _settings(options)
    plant = load_plant(settings.config)
    for name in options.devices:
        _require_device(plant, name)
    gateways = dict.fromkeys(device.gateway for device in plant.devices.values())
    learned = load_learned(settings.data)
    costs = [cost for gateway in gateways for cost in fleet_costs(select_fleet(plant, gateway), learned)]
    costs = [cost for cost in costs if not options.devices or cost.device in options.devices]
    sensors = [each for each in sensor_plans(plant) if not options.devices or each.device in options.devices]
    warnings = [cost.warning for cost in costs if cost.warning]
    if options.json:
        for cost in costs:
            print(json.dumps(_cost_object(cost)))
        for sensor in sensors:
            print(json.dumps(dataclasses.asdict(sensor)))
    else:
        if costs:
            _print_costs(costs, with_blocks=bool(options.devices))
        if sensors:
            rows = [(each.device, ", ".join(each.topics), each.interval_s, each.silent_after_s, each.time) for each in sensors]
            print(aligned(("device", "sends on", "about every s", "offline after s", "time"), rows))
        print("\n".join(["", *warnings] if warnings else ["", "Every device can keep its intervals."]))
    return EXIT_NOT_WELL if warnings else EXIT_WELL


def _print_costs(costs: Sequence[DeviceCost], *, with_blocks: bool) -> None:
    rows = [
        (
            cost.device,
            cost.connection,
            cost.unit,
            group.group,
            group.requests,
            group.registers,
            group.cycle_ms,
            "once" if group.once else f"{group.interval_ms:g}",
            group.is_late,
        )
        for cost in costs
        for group in cost.groups
    ]
    print(aligned(("device", "connection", "unit", "group", "requests", "registers", "cycle ms", "interval ms", "late"), rows))
    loads = {cost.connection: cost.load for cost in costs}
    measured = sum(cost.cost.is_measured for cost in costs)
    print(f"\nTimes of a request: measured with {measured} of {len(costs)} devices, assumed for the others.\n")
    print(aligned(("connection", "busy %"), [(connection, 100 * load) for connection, load in loads.items()]))
    if with_blocks:
        requests = [(cost.device, group.group, block) for cost in costs for group in cost.groups for block in group.blocks]
        print(f"\n{aligned(('device', 'group', 'request'), requests)}\n")
        prices = [
            (c.device, c.cost.round_trip_ms, f"{c.cost.register_ms:.3f}", "measured" if c.cost.is_measured else "assumed")
            for c in costs
        ]
        print(aligned(("device", "round trip ms", "ms a register", ""), prices))
    for cost in costs:
        if cost.gaps:
            print(f"\n{cost.device} refuses requests across these gaps; for its profile:")
            print(f"  must_not_cross: [{', '.join(gap.profile_entry for gap in cost.gaps)}]")


def _cost_object(cost: DeviceCost) -> dict[str, object]:
    return {
        "device": cost.device,
        "requests": cost.requests,
        "registers": cost.registers,
        "cycle_ms": cost.cycle_ms,
        "interval_ms": cost.interval_ms,
        "late": cost.warning is not None,
        "connection": cost.connection,
        "unit": cost.unit,
        "load": round(cost.load, 4),
        "round_trip_ms": cost.cost.round_trip_ms,
        "register_ms": cost.cost.register_ms,
        "measured": cost.cost.is_measured,
        "gaps": [gap._asdict() for gap in cost.gaps],
        "groups": [{**dataclasses.asdict(group), "late": group.is_late} for group in cost.groups],
    }


def _read(options: argparse.Namespace) -> int:
    plant = load_plant(_settings(options).config)
    _require_device(plant, options.device)
    device = plant.devices[options.device]
    if device.connection.sends_messages:
        return _read_sensor(options, plant, device)
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


def _read_sensor(options: argparse.Namespace, plant: PlantModel, device: Device) -> int:
    settings, clock, topics = _settings(options), SystemClock(), plant.topics_of(device.id)
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


def _probe(options: argparse.Namespace) -> int:
    for key, value, highest in (("--unit", options.unit, 255), ("--address", options.address, 0xFFFF)):
        if not 0 <= value <= highest:
            raise mistake(key, f"{value} is not allowed: 0 to {highest}")
    endpoint, pause_s = place_of(options)
    try:
        payloads = read_around(
            endpoint, options.unit, options.table, options.address, options.timeout_s, pause_s, frozenset(options.tolerate)
        )
    except ReadFault as fault:
        sys.stderr.write(f"{options.table} {options.address} of unit {options.unit} at {endpoint}: {fault.reason}\n")
        if isinstance(fault, MisnumberedAnswer):
            sys.stderr.write(f"Here --tolerate {fault.what} accepts it.\n")
        return EXIT_NOT_WELL
    found = candidates(options.table, payloads, options.expect)
    if options.json:
        for each in found:
            print(json.dumps(_candidate_object(each)))
    else:
        _print_candidates(found, options)
    return EXIT_WELL if options.expect is None or any(each.matches for each in found) else EXIT_NOT_WELL


def _candidate_object(candidate: Decoding) -> dict[str, object]:
    shown: dict[str, object] = {key: getattr(candidate, key) for key in ("address", "type", "order", "value", "matches")}
    return shown if candidate.scale == 1 else {**shown, "scale": candidate.scale}


def _print_candidates(found: Sequence[Decoding], options: argparse.Namespace) -> None:
    matching = [each for each in found if each.matches]
    here = [each for each in found if each.matches or each.address == options.address]
    rows = [
        (
            each.address,
            each.type,
            each.order,
            "no number" if each.value is None else repr(each.value),
            "<--" if each.matches else "",
        )
        for each in here
    ]
    print(aligned(("address", "type", "order", "value", "matches" if options.expect else ""), rows))
    if options.expect is None:
        print("\nGive --expect with the value that the machine shows, and what fits is marked.")
    elif not matching:
        print(f"\nNothing here reads {options.expect}, nor one address lower or higher. Wrong address, table or unit?")
    else:
        print("\nFor the profile:")
        for each in matching:
            off = "" if each.address == options.address else f"    # one off: you asked for {options.address}"
            print(f"  {each.profile_line}{off}")


def _scan(options: argparse.Namespace) -> int:
    endpoint, pause_s = place_of(options)
    units = LIKELY_UNITS if options.units is None else _unit_ids(options.units)
    if options.address is not None and not 0 <= options.address <= 0xFFFF:
        raise mistake("--address", f"{options.address} is not allowed: 0 to 65535")
    places = LIKELY_PLACES if options.address is None else [(options.table, options.address)]

    def tell(found: ScannedUnit) -> None:
        if not options.json:
            sys.stderr.write(f"unit {found.unit} answers\n")

    try:
        found = scan(endpoint, units, places, options.timeout_s, pause_s, tell, frozenset(options.tolerate))
    except ReadFault as fault:
        sys.stderr.write(f"{endpoint}: {fault.reason}\n")
        return EXIT_NOT_WELL
    if options.json:
        for each in found:
            print(json.dumps(dataclasses.asdict(each)))
    elif found:
        rows = [
            (
                each.unit,
                each.round_trip_ms,
                "-" if each.table is None else f"{each.table} {each.address}",
                "-" if each.largest_request is None else each.largest_request,
                "-" if each.pause_ms is None else f"{each.pause_ms:g}",
                "-" if each.pause_after_connect_ms is None else f"{each.pause_after_connect_ms:g}",
                each.remark,
            )
            for each in found
        ]
        print(aligned(("unit", "round trip ms", "read at", "largest request", "pause ms", "after connect", "why"), rows))
        if len(found) == min(len(units), ALL_ANSWER) > 2:
            print("\nEvery unit id was answered: the device probably ignores it.")
    else:
        asked = "from 0 to 247, nor 255," if options.units is None else options.units
        print(f"{endpoint} listens, but none of the units {asked} answered within {options.timeout_s:g} s.")
    return EXIT_WELL if found else EXIT_NOT_WELL


def _unit_ids(text: str) -> list[int]:
    units: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or not int(first) <= int(last or first) <= 255:
            raise mistake("--units", f"{part.strip()!r} is not a unit id from 0 to 255, or a range like 1-32")
        units.update(dict.fromkeys(range(int(first), int(last or first) + 1)))
    return list(units)


def _import(options: argparse.Namespace) -> int:
    try:
        raw = options.file.read_bytes()
    except OSError as error:
        raise mistake("TAGS.csv", f"{options.file} cannot be read: {error.strerror}") from error
    name = options.file.stem
    made = import_tags(
        as_text(raw, options.file.name),
        options.file.name,
        title=options.title or name,
        device=options.device,
        order=options.order,
        model_at=options.model_at,
    )
    check_profile(made.text, name)
    if options.json:
        notes = [dataclasses.asdict(note) for note in made.notes]
        print(json.dumps({"signals": made.signals, "notes": notes, "profile": made.text}))
    else:
        print(made.text, end="")
        sys.stderr.write("".join(f"{note}\n" for note in made.notes))
        count = f"{made.signals} signal{'s' * (made.signals != 1)}, {len(made.notes)} note{'s' * (len(made.notes) != 1)}"
        sys.stderr.write(f"{count}. Save as profiles/<vendor>-<model>.yaml, fill in source, and run millrace check.\n")
    return EXIT_WELL


def _require_device(plant: PlantModel, name: str) -> None:
    if name not in plant.devices:
        raise mistake("DEVICE", f"there is no device {name!r} in plant.yaml{nearest(name, plant.devices)}")


if __name__ == "__main__":
    sys.exit(main())

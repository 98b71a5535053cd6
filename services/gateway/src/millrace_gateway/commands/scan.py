"""`scan`: the units that answer at a host, and what they allow."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.tables import aligned

from ..faults import ReadFault
from ..place_arguments import mistake, place_of
from ..scan import ALL_ANSWER, LIKELY_PLACES, LIKELY_UNITS, ScannedUnit, scan


def show_units(options: argparse.Namespace) -> int:
    """`scan`: the units that answer at a host."""
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

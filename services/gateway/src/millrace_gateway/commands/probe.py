"""`probe`: one address decoded in every type and order."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from millrace_contract.runtime.lifecycle import EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.tables import aligned

from ..commission import read_around
from ..faults import MisnumberedAnswer, ReadFault
from ..place_arguments import mistake, place_of
from ..probe import Decoding, candidates


def show_decodings(options: argparse.Namespace) -> int:
    """`probe`: one address in every type and order."""
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

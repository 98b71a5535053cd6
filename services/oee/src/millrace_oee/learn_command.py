"""`millrace-oee learn-thresholds`: proposes the limits of a quantity by which a machine is known to run.

A person puts them into the profile; nothing here changes a figure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from millrace_contract.language.measurements import TELEMETRY_BUCKET
from millrace_contract.language.stored_points import message_fields, stored_messages
from millrace_contract.language.telemetry import Telemetry, decode_telemetry
from millrace_contract.plant import Profile
from millrace_contract.runtime.influx import Influx, literal, quoted
from millrace_contract.runtime.lifecycle import EXIT_MISTAKE, EXIT_NOT_WELL, EXIT_WELL
from millrace_contract.runtime.recording import Recording

from .learned_band import LearnedBand, NotLearned, learn_band
from .plan import Plan
from .settings import OeeSettings

PAGE_MS = 6 * 3_600_000


def run_learn(options: argparse.Namespace, plan: Plan, settings: OeeSettings, now_ms: int) -> int:
    """Exit status: 0 proposed, 1 nothing can be learnt. Raises Unavailable, Refused or QueryFailed."""
    device = plan.plant.devices.get(options.device)
    if device is None:
        return _mistake(f"--device: no device {options.device!r} in the plant model")
    profile = plan.plant.profile_of(device.id)
    named = options.signal or (profile.oee.state if profile.oee is not None else None)
    signal = profile.signals.get(named or "")
    if signal is None or signal.is_text or signal.values:
        numbers = ", ".join(name for name, each in profile.signals.items() if not each.is_text and not each.values)
        return _mistake(f"--signal: give one of {profile.name}'s that is measured: {numbers or 'it has none'}")
    span_ms = (options.from_ms, options.to_ms)
    if options.file is not None:
        messages = _recorded(options.file, plan, device.id, span_ms, now_ms)
    elif options.from_ms is None or options.to_ms is None:
        return _mistake("--from: give --from and --to, a week or so in which the machine ran and stood")
    else:
        messages = _stored(settings, profile, device.id, signal.name, span_ms)
    values = [float(value) for message in messages if (value := _good(message, signal.name)) is not None]
    try:
        band = learn_band(values)
    except NotLearned as error:
        sys.stderr.write(f"{device.id}, {signal.name}: {error}\n")
        return EXIT_NOT_WELL
    sys.stdout.write((json.dumps(asdict(band)) if options.json else _in_words(band, profile, device.id, signal.name)) + "\n")
    return EXIT_WELL


def _in_words(band: LearnedBand, profile: Profile, device: str, signal: str) -> str:
    unit = profile.signals[signal].unit
    measured = f" {unit}" if unit else ""
    (stands, stands_most), (runs, runs_least) = band.standing, band.running
    return (
        f"{device}, {signal}: {band.readings} readings. Standing it is {stands:g}{measured} most of the time and rarely above "
        f"{stands_most:g}; running it is {runs:g} and rarely below {runs_least:g}.\n"
        f"By these limits it ran in {100 * band.running_share:.1f} % of them, and began or ended running {band.switches} times.\n"
        f"To take them over, put into profiles/{profile.name}.yaml:\n\n"
        f"oee: {{state: {signal}, running: {{above: {band.above:g}, below: {band.below:g}}}}}"
    )


def _good(message: Telemetry, signal: str) -> float | None:
    value = message.readings.get(signal)
    return float(value) if isinstance(value, int | float) and signal not in message.quality else None


def _recorded(path: Path, plan: Plan, device: str, span_ms: tuple[int | None, int | None], now_ms: int) -> Iterator[Telemetry]:
    from_ms, to_ms = span_ms
    topic = plan.topics.telemetry(plan.plant.devices[device].line, device)
    found = [decode_telemetry(event.payload, now_ms) for event in Recording(path).events() if event.topic == topic]
    for message in sorted(found, key=lambda each: each.timestamp_ms):
        if (from_ms or 0) <= message.timestamp_ms and (to_ms is None or message.timestamp_ms < to_ms):
            yield message


def _stored(settings: OeeSettings, profile: Profile, device: str, signal: str, span_ms: tuple[int, int]) -> Iterator[Telemetry]:
    from_ms, to_ms = span_ms
    fields = ", ".join(map(quoted, message_fields([signal])))
    with Influx(settings) as influx:
        for page_ms in range(from_ms, to_ms, PAGE_MS):
            query = (
                f"SELECT {fields} FROM {quoted(profile.name)} WHERE device = {literal(device)} "  # noqa: S608 - quoted
                f"AND time >= {page_ms}ms AND time < {min(page_ms + PAGE_MS, to_ms)}ms ORDER BY time ASC"
            )
            for series in influx.query(TELEMETRY_BUCKET, query):
                yield from stored_messages(series.columns, series.rows)


def _mistake(words: str) -> int:
    sys.stderr.write(words + "\n")
    return EXIT_MISTAKE

"""Where a machine's past belongs: to the line and the profile under which it was read.

A machine that is moved leaves its samples and results there and begins anew; when it comes back it finds them again. So a changed
plant model never tells the past of one line as another's, nor one machine's numbers by another's profile. What lasted there ends
with the last that was heard of it.
"""

from __future__ import annotations

from .machine import Machine
from .plan import Plan
from .results import Results
from .store import Store

_PLACE = "place:"
"""Facts of this name: the place of each machine under which its rows lie in the store."""
_GATEWAY = "gateway:"
"""Which gateway reads each machine."""
_LINE = "line:"
"""Since when each line is made of which machines."""


def reconcile(plan: Plan, store: Store, results: Results) -> list[str]:
    """Bring the store in line with the plan, before anything is computed; returns machines of which more may be known elsewhere.

    Those are the ones that stand somewhere else now, or are read by another gateway: others may have taken over the edit before us.
    A machine that is gone stays where it was, for its age or until it comes back.
    """
    known = store.devices()
    before = {name.removeprefix(_PLACE): place for name, place in store.facts(_PLACE)}
    gateways = {name.removeprefix(_GATEWAY): gateway for name, gateway in store.facts(_GATEWAY)}
    for device in known.keys() - plan.machines.keys():
        if before.get(device, "").partition("/")[0] not in plan.others:  # else another instance goes on with its line
            results.end_what_lasts(device, known[device].last_ms)
    moved = []
    for machine in plan.machines.values():
        place = _place(machine)
        was = before.get(machine.id) or _of_older_store(plan, machine, results)
        if was is not None and was != place:
            if machine.id in known:
                results.end_what_lasts(machine.id, known[machine.id].last_ms)
            for to, name in ((_past(machine.id, was), machine.id), (machine.id, _past(machine.id, place))):
                store.rename(name, to)
                results.rename(name, to)
            moved.append(machine.id)
        elif gateways.get(machine.id, machine.gateway) != machine.gateway:
            moved.append(machine.id)
        if gateways.get(machine.id) != machine.gateway:
            store.set_fact(_GATEWAY + machine.id, machine.gateway)
        if before.get(machine.id) != place:
            store.set_fact(_PLACE + machine.id, place)
    _reconcile_lines(plan, store, max((each.last_ms for each in known.values()), default=0))
    return moved


def made_so_since_ms(store: Store) -> dict[str, int]:
    """Since when each line consists of the machines that it has; 0 where it never had others.

    Its figures of before were those of other machines: they stay as they were told.
    """
    return {name.removeprefix(_LINE): int(value.split(" ")[0]) for name, value in store.facts(_LINE)}


def _reconcile_lines(plan: Plan, store: Store, heard_ms: int) -> None:
    before = {name.removeprefix(_LINE): value for name, value in store.facts(_LINE)}
    for line in plan.lines.values():
        machines = " ".join(line.all_machines)
        known = before.get(line.name)
        if known is None or known.partition(" ")[2] != machines:
            store.set_fact(_LINE + line.name, f"{0 if known is None else heard_ms} {machines}")


def past_below(device: str, line: str) -> str:
    """What the names begin with, up to a slash, under which a machine's past in this line is kept."""
    return f"{device}@{line}"


def _past(device: str, place: str) -> str:
    """A name that no device can have."""
    return f"{device}@{place}"


def _place(machine: Machine) -> str:
    return f"{machine.line}/{machine.measurement}"


def _of_older_store(plan: Plan, machine: Machine, results: Results) -> str | None:
    """A store of before places were kept says of a machine's past only its line, in the topics of its results."""
    topic = plan.topics.parse(results.topic_of(machine.id) or "")
    return None if topic is None or topic.line in (None, machine.line) else f"{topic.line}/"

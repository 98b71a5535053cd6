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


def reconcile(plan: Plan, store: Store, results: Results) -> list[str]:
    """Bring the store in line with the plan, before anything is computed; returns the machines that are somewhere else now.

    A machine that is gone stays where it was, for its age or until it comes back.
    """
    known = store.devices()
    before = {name.removeprefix(_PLACE): place for name, place in store.facts(_PLACE)}
    for device in known.keys() - plan.machines.keys():
        results.end_what_lasts(device, known[device].last_ms)
    moved = []
    for machine in plan.machines.values():
        place = _place(machine)
        was = before.get(machine.id) or _of_older_store(plan, machine, results)
        if was is not None and was != place:
            if machine.id in known:
                results.end_what_lasts(machine.id, known[machine.id].last_ms)
            for to, name in ((f"{machine.id}@{was}", machine.id), (machine.id, f"{machine.id}@{place}")):
                store.rename(name, to)
                results.rename(name, to)
            moved.append(machine.id)
        if before.get(machine.id) != place:
            store.set_fact(_PLACE + machine.id, place)
    return moved


def _place(machine: Machine) -> str:
    return f"{machine.line}/{machine.measurement}"


def _of_older_store(plan: Plan, machine: Machine, results: Results) -> str | None:
    """A store of before places were kept says of a machine's past only its line, in the topics of its results."""
    topic = plan.topics.parse(results.topic_of(machine.id) or "")
    return None if topic is None or topic.line in (None, machine.line) else f"{topic.line}/"

"""All findings, in the order in which data flow and causes come before what they cause."""

from __future__ import annotations

from . import access, broker, clocks, database, devices, disks, plant_model, processes, queues, services, versions
from .evidence import Evidence
from .finding import Finding

SUBJECTS = (processes, plant_model, broker, database, access, services, devices, disks, clocks, queues, versions)


def examine(facts: Evidence) -> list[Finding]:
    """Each finding once."""
    found: list[Finding] = []
    for subject in SUBJECTS:
        found += [finding for finding in subject.findings(facts) if finding not in found]
    return found

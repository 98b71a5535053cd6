"""Do all parts run one version?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from .evidence import Evidence
from .finding import Finding, act, fine


def findings(facts: Evidence) -> Iterator[Finding]:
    by_version: dict[str, list[str]] = defaultdict(list)
    by_version[facts.version].append("doctor")
    for status in facts.all_statuses():
        if status.alive and status.version:
            by_version[status.version].append(f"{status.service} {status.instance}")
    if len(by_version) == 1:
        if len(by_version[facts.version]) > 1:
            yield fine("versions", f"all parts are of version {facts.version}")
        return
    shown = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(by_version.items()))
    yield act(
        "versions",
        f"the parts are not of one version ({shown})",
        f"{facts.commands.upgrade}; edge boxes: install of a newer bundle",
    )

"""What the gateway asks a device of each case: profile.yaml in, the requests of every poll group in expected.jsonl out.

A profile that is refused is what `millrace check` says of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from millrace_contract.plant import Profile
from millrace_contract.plant.profile_files import load_profiles
from millrace_gateway.poll_plan import group_plan


def test_the_requests_of_a_profile(case: Path, expect: Callable[[Path, str], None]) -> None:
    profiles, documents = load_profiles(case)
    found = [{"refused": problem.message, "line": problem.line} for document in documents for problem in document.problems]
    expect(case / "expected.jsonl", "".join(json.dumps(each) + "\n" for each in found or _requests(profiles["profile"])))


def _requests(profile: Profile) -> Iterator[dict[str, Any]]:
    for group in profile.groups:
        for block in (request.block for request in group_plan(profile, group).requests):
            yield {
                "group": group,
                "table": block.table,
                "address": block.address,
                "count": block.count,
                "signals": list(block.names),
            }

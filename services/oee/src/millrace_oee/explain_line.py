"""What a line's figures rest on: the explanations of its machines, and the rule by which their sums make the line's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo

import msgspec

from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.words import ALL_TIME

from .calendar import TimeWindow
from .documents import line_document
from .explain_words import head, parts
from .explained import Check, Explanation
from .lines import LinePlan, line_sums
from .plan import Plan
from .windows import nothing_known


@dataclass(frozen=True, slots=True)
class LineExplanation:
    """`machines`: of those that were heard. `checks`: the line's figures by their sums against the published document."""

    line: LinePlan
    document: OeeDocument
    machines: Mapping[str, Explanation]
    checks: tuple[Check, ...]

    @property
    def adds_up(self) -> bool:
        return all(check.agrees for check in self.checks) and all(each.adds_up for each in self.machines.values())


def explain_line(
    plan: Plan, name: str, window: TimeWindow, as_of_ms: int, *, machines: Mapping[str, Explanation], published: OeeDocument | None
) -> LineExplanation:
    line = plan.lines[name].until(window.end_ms)
    end_ms = min(window.end_ms, as_of_ms)
    silent = nothing_known(plan.calendars[name].slots(window.start_ms, end_ms))
    sums = line_sums(line, {each.id: machines[each.id].sums if each.id in machines else silent for each in line.machines})
    told = line_document(line, sums, window, as_of_ms=end_ms, versions=plan.versions_of_line(line, window))
    return LineExplanation(line, published or told, machines, tuple(_checks(told, published or told)))


def _checks(told: OeeDocument, published: OeeDocument) -> Iterator[Check]:
    for leaf, ms in told.ms.items():
        yield Check(f"ms.{leaf}", ms, published.ms[leaf])
    for name in told.parts.__struct_fields__:
        listed, said = getattr(told.parts, name), getattr(published.parts, name)
        if listed is not msgspec.UNSET or said is not msgspec.UNSET:
            yield Check(f"parts.{name}", _count(listed), _count(said))
    yield Check("ideal_ms", told.ideal_ms, published.ideal_ms)
    yield Check("good_ms", told.good_ms, published.good_ms)


def line_in_words(explanation: LineExplanation, zone: tzinfo) -> Iterator[str]:
    """The line's figures, its rule, and what each machine brings to them."""
    told, line = explanation.document, explanation.line
    yield from head(told, zone)
    yield ""
    if line.method == "sum" or len(line.stations) == 1:
        yield "The time and the parts of all its machines are added:"
    else:
        slow, end = (" and ".join(each.id for each in line.stations[place]) for place in (line.bottleneck, line.end))
        yield f"Time and pace are those of {slow}, the bottleneck; good parts come off {end}; each station's scrap lowers quality:"
    for machine in line.machines:
        yield f"  {machine_in_words(explanation, machine.id)}"
    if told.wip_moved:
        yield f"  {parts(abs(told.wip_moved))} {'came out of' if told.wip_moved > 0 else 'stayed in'} the line's buffers"
    for check in explanation.checks:
        if not check.agrees:
            yield f"IT DOES NOT ADD UP: {check.name} is {check.listed} by its machines, {check.told} in the document."
    if explanation.adds_up:
        counted = f"{parts(told.parts.total)} ({told.parts.good} good)"
        yield f"It adds up: {told.ms[ALL_TIME]} ms, {counted}, good time {told.good_ms} ms."


def machine_in_words(explanation: LineExplanation, device: str) -> str:
    """What a machine of the line brings to its figures."""
    found = explanation.machines.get(device)
    if found is None:
        return f"{device}: nothing was heard of it; all of its time is unknown"
    made = found.document.parts
    return f"{device}: {found.document.ms[ALL_TIME]} ms, {parts(made.total)}, {made.good} good, {made.scrap} scrap"


def _count(parts: int | msgspec.UnsetType) -> int:
    """What was not told is none."""
    return 0 if parts is msgspec.UNSET else parts

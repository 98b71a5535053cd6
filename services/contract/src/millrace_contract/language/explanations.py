"""Where the figures of a window come from, as one service tells it another and people (oee.md A21). Plain records: they are the
resources of the API, too. Times are RFC 3339, parts and milliseconds whole numbers; `words` say the same for a shift lead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .words import Leaf, MachineState, RevisedBy, UnknownPolicy, WhyUnknown


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPiece:
    """Time of a window in which nothing changes: `ms` by leaf, parts, and what it lost.

    `state` is null where nothing was heard, `code` what the machine said and its profile does not name. `stop_ms`: how long the
    whole stop was, null while it lasts and of what is none. `lost_parts`: what the ideal cycle would have made beyond what was
    made, below 0 where parts came faster; null without an ideal cycle, and of time that is no loss.
    """

    start: str
    end: str
    words: str
    leaf: Leaf
    ms: dict[str, int]
    state: MachineState | None = None
    code: str | None = None
    why_unknown: WhyUnknown | None = None
    reason: str | None = None
    reason_by: str | None = None
    attributed_to: str | None = None
    stop_ms: int | None = None
    order: str | None = None
    total: int = 0
    scrap: int = 0
    unknown: int = 0
    quarantined: int = 0
    ideal_ms: int = 0
    good_ms: int = 0
    assumed_ms: int = 0
    unexplained_ms: int = 0
    lost_parts: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStep:
    """Two neighbouring good readings of a counter. `parts`: all that count of the step, `here` those of the window, `waiting`
    those that wait for a decision."""

    start: str
    end: str
    words: str
    from_value: int
    to_value: int
    parts: int
    here: int
    waiting: int = 0
    events: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedCounter:
    """The steps of one counter: the usual ones counted, each other one told. `parts`: what it shows of the window in all."""

    role: str
    signal: str
    usual_steps: int
    usual_parts: int
    parts: int
    steps: list[ExplainedStep] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedEntry:
    """What an entry of people or MES changed, and OEE without it and with it; null where it is not known."""

    id: str
    version: int
    kind: str
    words: str
    entered: str
    actor: str | None = None
    moved_ms: dict[str, int] = field(default_factory=dict)
    scrap: int = 0
    rework: int = 0
    good_ms: int = 0
    explained_ms: int = 0
    oee_before: float | None = None
    oee_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedSettings:
    """What of the machine's settings held from when to when."""

    start: str
    end: str
    words: str
    micro_stop_s: float
    hold_s: float
    unknown_policy: UnknownPolicy
    ideal_cycle_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedMachine:
    """A machine that a line's figures rest on."""

    device: str
    words: str
    heard: bool
    all_ms: int = 0
    total: int = 0
    good: int = 0
    scrap: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedFigure:
    """A figure as what is listed adds up to it, and as the document has it."""

    name: str
    listed: int
    told: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedChange:
    """What of a window is another than in an earlier revision: `what` says which of the others are given."""

    what: RevisedBy
    words: str
    start: str | None = None
    end: str | None = None
    entry: str | None = None
    member: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRevised:
    """A figure then and now; null where it was, or is, not known."""

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRevision:
    """What made an earlier revision and the last one differ."""

    since_revision: int
    revision: int
    words: list[str]
    figures: list[FigureRevised]
    changes: list[ExplainedChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """All that a document's figures consist of. Of a line: its `machines`, each of which is explained on its own."""

    words: list[str]
    adds_up: bool
    figures: list[ExplainedFigure]
    pieces: list[ExplainedPiece] = field(default_factory=list)
    counters: list[ExplainedCounter] = field(default_factory=list)
    entries: list[ExplainedEntry] = field(default_factory=list)
    settings: list[ExplainedSettings] = field(default_factory=list)
    machines: list[ExplainedMachine] = field(default_factory=list)
    revised: ExplainedRevision | None = None

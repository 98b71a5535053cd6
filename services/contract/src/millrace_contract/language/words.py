"""The closed sets of words that messages, files and the API use: each set once, as a StrEnum, and nowhere else.

The types of messages, the plant's files, the JSON Schemas and OpenAPI take them from here, so that a word no set has is refused
where it comes in, in words, and a misspelt one here by the type checker. What each word is called and looks like: looks.py.

A set grows only here. To a reader that is older than the sender a new word is a broken message: it keeps nothing of it and
invents nothing, ingest parks it whole among the dead letters, and `dead-letters replay` stores it once the reader knows the
word. So readers are upgraded before senders (decision 0010). Causes of losses are no closed set: a loss counts whatever the
word. A program that reads our API or topics should pass over a word that it does not know.
"""

from __future__ import annotations

from enum import StrEnum


class MachineState(StrEnum):
    """What a machine does, by its PackML name (OPC 30060), with `setup`, `unknown` and `unreachable` of our own (oee.md A6, A9).

    `unknown`: nothing was heard. `unreachable`: its gateway asked, and it did not answer. No profile may give a value this meaning.
    """

    STOPPED = "stopped"
    RESETTING = "resetting"
    IDLE = "idle"
    STARTING = "starting"
    EXECUTE = "execute"
    COMPLETING = "completing"
    COMPLETE = "complete"
    ABORTING = "aborting"
    ABORTED = "aborted"
    STOPPING = "stopping"
    CLEARING = "clearing"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    UNSUSPENDING = "unsuspending"
    HOLDING = "holding"
    HELD = "held"
    UNHOLDING = "unholding"
    SETUP = "setup"
    UNKNOWN = "unknown"
    UNREACHABLE = "unreachable"


NOT_TOLD = frozenset({MachineState.UNKNOWN, MachineState.UNREACHABLE})
"""States that no machine tells of itself."""
WAITING_STATES = frozenset({MachineState.SUSPENDING, MachineState.SUSPENDED, MachineState.UNSUSPENDING})
"""A stop that begins in one of these waits for others: starved or blocked."""
_STATES = {state.value: state for state in MachineState if state not in NOT_TOLD}


def machine_state(word: str) -> MachineState:
    """The state of this name; `unknown` for a text that names none."""
    return _STATES.get(word, MachineState.UNKNOWN)


class Leaf(StrEnum):
    """A leaf of the time model: every millisecond belongs to exactly one (oee.md A2)."""

    NOT_SCHEDULED = "not_scheduled"
    UNSCHEDULED = "unscheduled"
    BREAK = "break"
    UNKNOWN = "unknown"
    PLANNED_STOP = "planned_stop"
    SETUP = "setup"
    UNPLANNED_STOP = "unplanned_stop"
    MINOR_STOP = "minor_stop"
    RUN = "run"


PRODUCTION_LEAVES = (Leaf.RUN, Leaf.MINOR_STOP, Leaf.UNPLANNED_STOP, Leaf.PLANNED_STOP, Leaf.SETUP)
"""Leaves that make up planned production time, OEE's denominator."""

ALL_TIME = "all"
"""Beside the leaves in a document's `ms`: their sum."""


class UnknownPolicy(StrEnum):
    """What counts where nobody knows what a machine did (oee.md A9).

    exclude: nothing, the time is left out. down: time in which its gateway watched and it did not answer is an unplanned stop.
    hold: the last state goes on. infer: as long as the parts take at the ideal cycle that its counter shows afterwards, it ran.
    """

    EXCLUDE = "exclude"
    DOWN = "down"
    HOLD = "hold"
    INFER = "infer"


class NoOrder(StrEnum):
    """What time is in which no order is in force: part of planned production time like any other, or left out (oee.md A12)."""

    SCHEDULED = "scheduled"
    UNSCHEDULED = "unscheduled"


class BigLoss(StrEnum):
    """What planned production time is lost to: the six big losses, and planned stops (oee.md A4).

    `startup`: rejects of an order's start-up, where the plant has them told apart; else they are defects.
    """

    PLANNED_STOPS = "planned_stops"
    SETUP = "setup"
    BREAKDOWNS = "breakdowns"
    MINOR_STOPS = "minor_stops"
    REDUCED_SPEED = "reduced_speed"
    STARTUP = "startup"
    DEFECTS = "defects"


class FigureMethod(StrEnum):
    """Whose sums a figure comes from: one machine's, its line's bottleneck, or all machines of a line (oee.md A15)."""

    MACHINE = "machine"
    CONSTRAINT = "constraint"
    SUM = "sum"


class WindowKind(StrEnum):
    """What a window of figures is; an hour is one of its shift, off_shift the time between shifts, a day a business date.

    Weeks are ISO weeks of business dates, months calendar months of them. A period is any time that somebody asked for; nobody
    publishes it.
    """

    SHIFT = "shift"
    HOUR = "hour"
    OFF_SHIFT = "off_shift"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    PERIOD = "period"
    ORDER = "order"


class IntervalKind(StrEnum):
    """A stretch of one machine state, a stop as a whole, or the time of a counter's step that is not counted by itself."""

    STATE = "state"
    STOP = "stop"
    COUNTER_STEP = "counter_step"


class StepEvent(StrEnum):
    """Why a step of a counter is not counted by itself (oee.md A7)."""

    JUMP = "jump"  # faster than the machine can be
    REJECTED = "rejected"  # a fall that is neither a wrap nor a reset
    AMBIGUOUS = "ambiguous"  # the counter may have turned whole times in between


class NoFigure(StrEnum):
    """Why a figure of a window is null: the first thing that is missing."""

    NOTHING_PLANNED = "no_planned_production_time"
    INSUFFICIENT_DATA = "insufficient_data"
    NO_IDEAL_CYCLE = "no_ideal_cycle"
    NO_COUNTER = "no_part_counter_read"
    NO_RUN_TIME = "no_run_time"
    NO_QUALITY = "no_quality_counter_read"
    SCRAP_EXCEEDS = "scrap_exceeds_parts"
    NO_PARTS = "no_parts"


class FigureFlag(StrEnum):
    """What a reader of a window's figures should know beside them."""

    COUNTER_RESET = "counter_reset"
    COUNTER_REJECTED = "counter_rejected"
    COUNTER_JUMP = "counter_jump"
    COUNTER_AMBIGUOUS = "counter_ambiguous"
    IDEAL_CYCLE_SUSPECT = "ideal_cycle_suspect"
    STOP_PENDING = "stop_pending"
    GAP_OPEN = "gap_open"
    DEVICE_OFFLINE = "device_offline"
    WIP_MOVED = "wip_moved"
    NEW_MACHINE = "new_machine"
    UNMAPPED_STATE = "unmapped_state"
    GOOD_AHEAD = "good_ahead_of_total"


class RevisionCause(StrEnum):
    """Why the figures of a window were told again."""

    LATE_DATA = "late_data"
    REASON = "reason"
    SCRAP = "scrap"
    ORDER = "order"
    COUNTER_STEP = "counter_step"
    CALENDAR = "calendar"
    CONFIG = "config"


class CausedBy(StrEnum):
    """How it is known which machine made one stand: it was itself, a person said so, or the flow of the line does."""

    OWN = "own"
    PERSON = "person"
    FLOW = "flow"


class RevisedBy(StrEnum):
    """What of a window is another than in an earlier revision: a piece of its time, parts of it, an entry of people or MES, a
    setting, or a window whose sums it adds."""

    PIECE = "piece"
    PARTS = "parts"
    ENTRY = "entry"
    SETTING = "setting"
    MEMBER = "member"


class WhyUnknown(StrEnum):
    """Why nobody knows what a machine did."""

    NOT_HEARD = "not_heard"  # no reading of its state came before
    SILENCE = "silence"  # what was read last holds no longer
    NOT_GOOD = "not_good"  # its state was read, and not well
    UNREACHABLE = "unreachable"  # its gateway asked, and it did not answer
    UNMAPPED = "unmapped"  # it said something that its profile does not name


class CommsState(StrEnum):
    """Can a device be reached? Degraded: some of its poll groups fail."""

    ONLINE = "online"
    DEGRADED = "degraded"
    OFFLINE = "offline"


NOT_HEARD = "unknown"
"""Shown in place of a CommsState where nothing was heard of a device yet; never sent."""


class Quality(StrEnum):
    """How far a reading can be trusted. A bad one has no value."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


class ConfigurationInUse(StrEnum):
    """Does a service run on the present configuration, or on the last one that was good?"""

    CURRENT = "current"
    LAST_ACCEPTED = "last_accepted"


class Prognosis(StrEnum):
    """What `millrace doctor` says of a part: fine, worth knowing, goes on by itself, or waits until somebody acts."""

    FINE = "fine"
    NOTE = "note"
    MENDS = "mends_by_itself"
    ACT = "needs_somebody"


class AlertClass(StrEnum):
    """Who is concerned: an operator who must act, maintenance, or who keeps the platform running."""

    ALARM = "alarm"
    MAINTENANCE = "maintenance"
    SYSTEM = "system"


class Priority(StrEnum):
    """How urgent an alert is, from the most to the least."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the least urgent; greater is more urgent."""
        return len(Priority) - 1 - list(Priority).index(self)


class AlertLevel(StrEnum):
    """Which of the limits of one rule is reached: high, low, and the worse ones beyond them."""

    HIGH_HIGH = "hh"
    HIGH = "h"
    LOW = "l"
    LOW_LOW = "ll"

    @property
    def is_high(self) -> bool:
        return self in {AlertLevel.HIGH_HIGH, AlertLevel.HIGH}

    @property
    def is_worst(self) -> bool:
        """Beyond the other one of its side."""
        return self in {AlertLevel.HIGH_HIGH, AlertLevel.LOW_LOW}


class IsaState(StrEnum):
    """The state of an alert, as ISA-18.2 names it; the letters are those of the 2016 edition (alerts.md B1)."""

    NORM = "NORM"  # A: nothing to see
    UNACK = "UNACK"  # B: in alarm, nobody has acknowledged
    ACKED = "ACKED"  # C: in alarm, acknowledged
    RTNUN = "RTNUN"  # D: returned to normal, not acknowledged
    LATCH_UNACK = "LATCH_UNACK"  # E: returned to normal, held until reset, not acknowledged
    LATCH_ACK = "LATCH_ACK"  # F: returned to normal, held until reset, acknowledged
    SHLVD = "SHLVD"  # G: hidden by a person until a time
    DSUPR = "DSUPR"  # H: hidden by a design rule
    OOSRV = "OOSRV"  # I: out of service


ACTIVE = frozenset({IsaState.UNACK, IsaState.ACKED})
"""The condition holds, and it is shown."""
UNACKNOWLEDGED = frozenset({IsaState.UNACK, IsaState.RTNUN, IsaState.LATCH_UNACK})
"""Waits for somebody to acknowledge it."""
SUPPRESSED = frozenset({IsaState.SHLVD, IsaState.DSUPR, IsaState.OOSRV})
ANNUNCIATED = frozenset(IsaState) - SUPPRESSED - {IsaState.NORM}
"""An operator is to see it: B to F."""


class EventCause(StrEnum):
    """What made an alert's transition."""

    CONDITION = "condition"
    CLEAR = "clear"
    ACK = "ack"
    UNACK = "unack"
    RE_ALARM = "re_alarm"
    ESCALATED = "escalated"  # a worse limit of the rule is reached, or one on the other side
    EASED = "eased"  # the worst limit is left, and a milder one is not
    RESET = "reset"
    SHELVE = "shelve"
    UNSHELVE = "unshelve"
    SHELF_EXPIRED = "shelf_expired"
    SUPPRESS = "suppress"
    UNSUPPRESS = "unsuppress"
    OUT_OF_SERVICE = "out_of_service"
    RETURN_TO_SERVICE = "return_to_service"
    COMMENT = "comment"
    LEARN = "learn"  # what is normal is learnt anew, after a repair
    RULE_REMOVED = "rule_removed"
    RULE_CHANGED = "rule_changed"


class RuleOrigin(StrEnum):
    """Where an alert rule that is in force comes from: alerts.yaml, or the API, which lies over it."""

    FILE = "file"
    API = "api"


class Evaluation(StrEnum):
    """Whether an alert's rule can be evaluated (`good`, `uncertain`), is not meant to be (`learning`, `paused`), or why not."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    STALE = "stale"  # the newest reading is too old
    BAD = "bad"  # the device was asked and gave no good answer
    NEVER_SEEN = "never_seen"
    NOT_A_NUMBER = "not_a_number"  # a limit cannot be compared with text
    INHIBITED = "inhibited"  # another alert says why already: the device is offline, or its gateway
    LEARNING = "learning"  # there are not enough readings yet to judge by
    PAUSED = "paused"  # it is not to be evaluated now: `while` does not hold
    NOT_WATCHING = "not_watching"  # we are cut off from the broker, and hear nothing of anything


EVALUABLE = frozenset({Evaluation.GOOD, Evaluation.UNCERTAIN, Evaluation.LEARNING, Evaluation.PAUSED})
"""The rule can be evaluated, or is not meant to be just now: nobody is blind."""


class ContextKind(StrEnum):
    """What a person or an MES enters: an order, a stop's reason, scrap or rework, what a counter's step means, or that it takes an
    entry back."""

    ORDER = "order"
    REASON = "reason"
    SCRAP = "scrap"
    REWORK = "rework"
    COUNTER_STEP = "counter_step"
    WITHDRAWAL = "withdrawal"


class OrderAction(StrEnum):
    """What happens to an order on a machine or a line."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    END = "end"


class ReasonAction(StrEnum):
    """What is said of stops: why they stood, why a part of one did, that several were one, or a comment."""

    CHOOSE = "choose"
    SPLIT = "split"
    MERGE = "merge"
    COMMENT = "comment"


class StepVerdict(StrEnum):
    """Whether the parts of a counter's step that was not counted by itself are real."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class OrderState(StrEnum):
    """How an order stands; what is in force is running or paused."""

    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


class AskVerb(StrEnum):
    """What one service asks another on behalf of people and MES."""

    PERIOD = "period"
    EXPLAIN = "explain"


class NoReply(StrEnum):
    """Why a question gets no document: it breaks a rule, what it asks for is not there, or not just now."""

    REFUSED = "refused"
    NOT_FOUND = "not_found"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"


class AssetClass(StrEnum):
    """What kind of machine a profile is for."""

    CNC = "cnc"
    PRESS = "press"
    MOULDER = "moulder"
    CONVEYOR = "conveyor"
    PACKER = "packer"
    COMPRESSOR = "compressor"
    ENERGY_METER = "energy_meter"
    OTHER = "other"

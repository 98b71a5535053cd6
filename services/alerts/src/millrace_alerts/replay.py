"""What the rules would have raised on a recorded event file: the live service's receiver and watch, by the file's own times."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from millrace_contract.language.alert_messages import AlertEvent
from millrace_contract.language.event_file import ArrivalClock, Event
from millrace_contract.language.topics import Topics
from millrace_contract.plant import PlantModel
from millrace_contract.plant.maintenance import MaintenanceWindow
from millrace_contract.runtime.clock import Now
from millrace_contract.runtime.recording import as_received
from millrace_contract.store_forward.turns import TICK_S

from .alert import Transition, event_message
from .receiver import AlertsReceiver, NoSurroundings
from .records import Saved
from .rules import Watched
from .watch import Watch
from .worker import TICK_LAG_MS


@dataclass
class AlertsReplay:
    """Feeds recorded messages to a fresh watch. `today_ms`: the present; what is later was refused when it was recorded, too."""

    plant: PlantModel
    watched: dict[str, Watched]
    today_ms: int
    windows: Mapping[str, MaintenanceWindow] = field(default_factory=dict)
    _ticked_ms: int = 0
    _seq: int = 0
    _watch: Watch = field(init=False)
    _receiver: AlertsReceiver = field(init=False)
    _clock: ArrivalClock = field(init=False)

    def __post_init__(self) -> None:
        self._watch = Watch(self.plant, self.watched, Saved(), self.windows)
        self._receiver = AlertsReceiver(self.plant, Topics(self.plant.root), NoSurroundings())
        self._clock = ArrivalClock(self.today_ms)

    @property
    def ignored(self) -> Counter[str]:
        """How many messages changed nothing, by reason."""
        return self._receiver.ignored

    def events(self, messages: Iterable[Event]) -> Iterator[AlertEvent]:
        """Every alert event, in order, as the live service would have stored it."""
        for message in messages:
            now_ms = self._clock.hear(message)
            yield from self._numbered(self._pass(now_ms))
            yield from self._numbered(self._receiver.receive(as_received(message), self._watch, Now(now_ms / 1000, now_ms)))
        yield from self._numbered(self._watch.tick(self._clock.now_ms))

    def _numbered(self, transitions: list[Transition]) -> Iterator[AlertEvent]:
        for transition in transitions:
            self._seq += 1
            yield event_message(transition, self._seq, self._clock.now_ms, self.watched[transition.alert.id].description)

    def _pass(self, now_ms: int) -> list[Transition]:
        """Time goes on; timers run as they would have run live."""
        if now_ms - self._ticked_ms < TICK_S * 1000:
            return []
        first, self._ticked_ms = not self._ticked_ms, now_ms
        return [] if first else self._watch.tick(now_ms - TICK_LAG_MS)

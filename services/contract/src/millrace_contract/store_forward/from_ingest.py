"""What ingest says to a sender: which of its messages are stored, and whether data are taken (contracts.md 2.4)."""

from ..language.messages import Stored, decode
from ..language.topics import Topics
from ..runtime.status import Platform


class FromIngest:
    """One reading of these topics for everybody who owns an outbox. `filters`: what to subscribe to, among them `confirmations`."""

    def __init__(self, topics: Topics, sender: str) -> None:
        self.confirmations = topics.stored(sender)
        self.filters = (self.confirmations, topics.status("ingest", "+"))
        self._topics = topics
        self._stored = topics.stored(sender)
        self._statuses = topics.status("ingest", "+").partition("+")[0]
        self._platform = Platform()

    def read(self, topic: str, payload: bytes) -> Stored | bool | None:
        """A confirmation, or whether some ingest takes data; None for any other message. Raises Malformed."""
        if topic == self._stored:
            return decode(Stored, payload)
        if topic.startswith(self._statuses):
            parsed = self._topics.parse(topic)
            if parsed is not None:
                self._platform.apply(parsed, payload)
                return self._platform.is_taking()
        return None

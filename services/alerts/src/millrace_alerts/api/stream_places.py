"""StreamPlaces for streams, which never end by themselves: counted apart from requests, in all and for each address."""

from collections import Counter

from millrace_contract.errors import Unavailable

from .problems import unavailable

MOST_STREAMS = 300
MOST_OF_ONE_ADDRESS = 250


class StreamPlaces:
    """Which streams are open; used on the event loop only."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    def take(self, address: str) -> None:
        """Raises ApiProblem 503."""
        if self.taken.total() >= MOST_STREAMS:
            raise unavailable(Unavailable(f"{MOST_STREAMS} streams are open, and no more are served"))
        if self.taken[address] >= MOST_OF_ONE_ADDRESS:
            raise unavailable(Unavailable(f"{MOST_OF_ONE_ADDRESS} streams of {address} are open, and no more are served"))
        self.taken[address] += 1

    def give_back(self, address: str) -> None:
        self.taken[address] -= 1
        self.taken += Counter()  # forget who has none

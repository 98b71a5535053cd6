"""API tokens: who may do what. The file holds only hashes and is read again when it changes."""

import threading
from dataclasses import dataclass
from pathlib import Path

import msgspec

from millrace_contract.language.api_tokens import decode_tokens, token_hash
from millrace_contract.runtime.clock import Clock
from millrace_contract.runtime.logs import get_logger

LOOK_EVERY_S = 1.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Client:
    """The holder of a token."""

    name: str
    scopes: frozenset[str]


class ApiTokens:
    """Used from any thread of the API. A file that cannot be read leaves the last good list in force; `problem` says why.

    `is_known`: a list was read once, or there is none to read. Before that nobody can say that a token is wrong.
    """

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self.problem: str | None = None
        self._path = path
        self._clock = clock
        self._looked_s = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._clients: dict[str, Client] = {}
        self._looking = threading.Lock()
        self.is_known = path is None
        self._look()

    def client(self, token: str) -> Client | None:
        """The holder, None for a token that is not (or no longer) known."""
        self._look()
        return self._clients.get(token_hash(token))

    def _look(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._path is None or now_s - self._looked_s < LOOK_EVERY_S:
            return
        with self._looking:  # Whoever comes while another looks waits: before the first look nobody would be known.
            if now_s - self._looked_s >= LOOK_EVERY_S:
                self._read(self._path)
                self._looked_s = now_s

    def _read(self, path: Path) -> None:
        try:
            stat = path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            self._seen = seen
            tokens = decode_tokens(path.read_bytes())
        except (OSError, msgspec.MsgspecError) as error:
            self._note(f"the API tokens cannot be read: {error}")
            return
        self._note(None)
        self.is_known = True
        self._clients = {token.sha256.lower(): Client(token.name, frozenset(token.scopes)) for token in tokens}
        _log.info("api_tokens_loaded", count=len(self._clients))

    def _note(self, problem: str | None) -> None:
        if problem != self.problem and problem is not None:
            _log.error("api_tokens_unreadable", reason=problem)
        self.problem = problem

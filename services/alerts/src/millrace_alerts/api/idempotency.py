"""Idempotency-Key: a command that is sent twice is carried out once (IETF draft, 07)."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..store import Reader, StoredAnswer
from .problems import ApiProblem

MAX_KEY_CHARACTERS = 255


def fingerprint_of(*parts: str) -> str:
    """What the key stands for: the same key with another request is a mistake of the client."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


class Idempotency:
    """Which keys are being worked on now; what was answered earlier is in the store."""

    def __init__(self) -> None:
        self._busy: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    @contextmanager
    def claim(self, client: str, key: str) -> Iterator[None]:
        """One request at a time for a key; raises ApiProblem 409 for the second."""
        with self._lock:
            if (client, key) in self._busy:
                raise ApiProblem("in-progress", "a request with this Idempotency-Key is not finished yet; ask again")
            self._busy.add((client, key))
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard((client, key))


def stored_answer(reader: Reader, client: str, key: str, fingerprint: str) -> StoredAnswer | None:
    """The earlier answer to the same request; raises ApiProblem 422 when the key belonged to another one."""
    answer = reader.answer(client, key)
    if answer is not None and answer.fingerprint != fingerprint:
        raise ApiProblem("key-reused", "Idempotency-Key: it was used for another request; take a new one")
    return answer

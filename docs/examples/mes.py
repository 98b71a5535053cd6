"""An MES in small: follows the events of alerts without losing or repeating one, and acknowledges what it is told to.

It works with a client that is generated from the server's own description:

    pip install openapi-python-client
    curl "$MILLRACE/openapi.json" > openapi.json
    openapi-python-client generate --path openapi.json --meta none --output-path millrace_client
    python mes.py --server "$MILLRACE" --token-file token --journal journal.jsonl --acknowledge spindle-hot

The journal is all that it remembers: one event a line, each with the cursor behind it, written once the event was dealt with.
Killed at any moment it goes on from there; what it deals with a second time then, an Idempotency-Key makes harmless.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from millrace_client import AuthenticatedClient
from millrace_client.api.alerts import acknowledge, read_alert
from millrace_client.api.events import list_events
from millrace_client.models import ActionBody, EventList, EventResource, ProblemDocument
from millrace_client.types import Response

PAUSE_S = 1.0
GONE = 410
NOT_NOW = range(500, 600)


def main() -> None:
    options = argparse.ArgumentParser(description="follow the events of alerts")
    options.add_argument("--server", required=True)
    options.add_argument("--token-file", required=True, type=Path)
    options.add_argument("--journal", required=True, type=Path)
    options.add_argument("--acknowledge", default="", help="rule whose alerts are acknowledged")
    options.add_argument("--events", type=int, default=0, help="end after so many events; 0: never")
    asked = options.parse_args()
    client = AuthenticatedClient(base_url=asked.server, token=asked.token_file.read_text().strip(), timeout=10)
    journal = Journal(asked.journal)
    while not asked.events or journal.count < asked.events:
        try:
            for event in new_events(client, journal):
                if event.rule == asked.acknowledge and event.to_state == "UNACK":
                    acknowledge_it(client, event)
        except (NotNow, httpx.TransportError) as error:
            print(f"later: {error}")
        time.sleep(PAUSE_S)


class NotNow(Exception):
    """The server answers, and can't do it just now."""


class Journal:
    """What was taken in."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]  # A kill may have cut the last line off.
        if whole != lines:
            path.write_bytes(b"".join(whole))
        entries = [json.loads(line) for line in whole]
        self.cursor = entries[-1]["cursor"] if entries else "0"
        self.count = sum("seq" in entry for entry in entries)

    def keep(self, cursor: str, event: EventResource | None = None) -> None:
        """An event and the place behind it, or only a place to go on from."""
        entry = {"cursor": cursor} if event is None else {**event.to_dict(), "cursor": cursor}
        with self._path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
        self.cursor = cursor
        self.count += event is not None


def new_events(client: AuthenticatedClient, journal: Journal) -> Iterator[EventResource]:
    """The events after the journal's end; each is kept there once whoever asked for the next one is done with it."""
    answer = list_events.sync_detailed(client=client, after=journal.cursor)
    if isinstance(answer.parsed, EventList):
        for event in answer.parsed.items:
            # The feed's epoch is that of the answer; a bare number within it is a cursor, too.
            epoch = answer.parsed.cursor.rpartition("-")[0]
            yield event
            journal.keep(f"{epoch}-{event.seq}", event)
    elif answer.status_code == GONE and isinstance(answer.parsed, ProblemDocument) and answer.parsed.cursor:
        print(answer.parsed.detail)
        journal.keep(answer.parsed.cursor)
    elif answer.status_code in NOT_NOW:
        raise NotNow(detail(answer))
    else:
        raise SystemExit(f"the server refuses: {detail(answer)}")


def acknowledge_it(client: AuthenticatedClient, event: EventResource) -> None:
    """On the version that is read now; who acknowledged in the meantime, or what has changed since, is no mistake."""
    seen = read_alert.sync_detailed(event.alert_id, client=client)
    if seen.status_code != 200:
        print(f"{event.alert_id} cannot be read: {detail(seen)}")
        return
    body = ActionBody(actor="mes", comment=f"taken into the MES as event {event.seq}")
    key = f"ack-{event.alert_id}-{event.seq}"
    done = acknowledge.sync_detailed(event.alert_id, client=client, body=body, if_match=seen.headers["ETag"], idempotency_key=key)
    if done.status_code in NOT_NOW:
        raise NotNow(detail(done))
    print(f"{event.alert_id}: {'acknowledged' if done.status_code == 200 else detail(done)}")


def detail(answer: Response) -> str:
    return answer.parsed.detail if isinstance(answer.parsed, ProblemDocument) else f"HTTP {answer.status_code}"


if __name__ == "__main__":
    main()

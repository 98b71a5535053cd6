"""mosquitto.conf for a broker beside us instead of in its container: the same file with other places and ports. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_SECRETS_IN_CONTAINER = "/run/secrets/millrace"
_DATA_IN_CONTAINER = "/mosquitto/data"


@dataclass(frozen=True, slots=True)
class LocalBroker:
    """Where a broker without a container keeps and offers things. `user` matters where it is started by root."""

    secrets: Path
    data: Path
    user: str
    host: str = "127.0.0.1"
    port: int = 1883
    tls_port: int = 8883


def localised(text: str, broker: LocalBroker) -> str:
    """The text of mosquitto/mosquitto.conf for `broker`. Raises ValueError when the file lacks what must be replaced."""
    for needed in (_SECRETS_IN_CONTAINER, _DATA_IN_CONTAINER, "listener 1883", "listener 8883"):
        if needed not in text:
            raise ValueError(f"mosquitto.conf: {needed!r} is missing, so it cannot be fitted to this machine")
    text = text.replace(_SECRETS_IN_CONTAINER, str(broker.secrets)).replace(_DATA_IN_CONTAINER, str(broker.data))
    text = re.sub(r"^listener 1883\b.*$", f"listener {broker.port} {broker.host}", text, flags=re.MULTILINE)
    text = re.sub(r"^listener 8883\b.*$", f"listener {broker.tls_port} {broker.host}", text, flags=re.MULTILINE)
    # Started by root, mosquitto would become a user that may not read these files.
    return f"{text}\nuser {broker.user}\n"

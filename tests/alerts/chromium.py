"""A Chromium without a window that a test looks into: what a page shows, and in which colours, over DevTools' pipe."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest

_PATIENCE_S = 60
"""Only guards: a browser on a busy machine takes its time."""

_ON_3_AND_4 = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"


class Chromium:
    """One page. Use as a context manager; `evaluate` runs JavaScript in it."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url
        self._number = 0
        self._session: str | None = None
        self._buffer = b""

    def __enter__(self) -> Chromium:
        browser = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
        if browser is None:
            message = "no Chromium on this machine: install it from the system's packages"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(message)
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        # Chromium reads file descriptor 3 and writes 4; out of the way of those that the pipes themselves have got.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (to_browser, from_browser)]
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--remote-debugging-pipe"]
        profile = f"--user-data-dir={self._folder / 'chromium'}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_3_AND_4, *map(str, ends), str(browser), *options, profile, "about:blank"],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (*ends, to_browser, from_browser):
            os.close(end)
        try:
            target = self._ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self._ask("Page.enable")
            self._ask("Page.navigate", url=self._url)
        except (OSError, AssertionError):
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self._session = None
        with suppress(OSError, TimeoutError):
            self._ask("Browser.close")
        os.close(self._out)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def prefer(self, scheme: Literal["dark", "light"]) -> None:
        """What the person's system prefers."""
        self._ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def evaluate(self, script: str) -> Any:
        """The value of an expression of JavaScript; it must be plain data."""
        answer = self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        request: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            request["sessionId"] = self._session
        os.write(self._out, json.dumps(request).encode() + b"\0")
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            message = self._message(deadline_s, method)
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                answer: dict[str, Any] = message["result"]
                return answer

    def _message(self, deadline_s: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium did not answer {method} within {_PATIENCE_S} s")
            chunk = os.read(self._in, 1 << 16)
            if not chunk:
                raise OSError("Chromium has ended")
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

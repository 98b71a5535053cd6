"""For tests: a simulator on a thread of its own."""

from __future__ import annotations

import asyncio
import threading

from millrace_contract.plant import load_plant

from .run import Simulator
from .settings import SimulatorSettings


class RunningSimulator:
    """A simulator on a loop of its own thread; `url` answers health and faults."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.url = f"http://127.0.0.1:{settings.http_port}"
        self.plant = load_plant(settings.config)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="simulator")

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(30):
            raise TimeoutError("the simulator did not start within 30 s")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)
        if self._thread.is_alive():
            raise TimeoutError("the simulator did not stop within 20 s")

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self._stopping = asyncio.Event()
            simulator = Simulator(self.settings)
            try:
                await simulator.start()
                self._ready.set()
                await simulator.run(self._stopping)
            finally:
                await simulator.stop()

        try:
            asyncio.run(serve())
        except BaseException as error:  # noqa: BLE001 - it is raised again, in `start`
            self._failure = error
        finally:
            self._ready.set()

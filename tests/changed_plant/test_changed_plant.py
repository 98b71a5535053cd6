"""Random edits of the plant model at random states of the chain, restarts in any order: nothing is lost, and what is gone is gone.

`MILLRACE_MODEL_RUNS=200 pytest tests/changed_plant` takes so many seeds in place of a few; a seed that fails says what was done.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from millrace_alerts.api.overview import Overview
from millrace_contract.language.messages import decode
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.topics import Kind, Topics
from millrace_contract.language.words import FigureFlag
from millrace_contract.runtime.settings import DatabaseSettings
from millrace_oee.master_data import FILE
from millrace_oee.recompute import recompute

from .chain import Chain
from .conftest import START_MS, TOKEN, Plant
from .edits import GATEWAYS, Editor
from .machines import Machines

RUNS = int(os.environ.get("MILLRACE_MODEL_RUNS", "3"))
FIRST = int(os.environ.get("MILLRACE_MODEL_FIRST", "0"))
STEPS = 12
SETTLE_TICKS, CALM_TICKS = 8, 12
CONSUMERS = ("ingest", "oee", "alerts")
TOPICS = Topics("factory")
OF_NOW = {FigureFlag.GAP_OPEN, FigureFlag.DEVICE_OFFLINE}
"""Flags that the past of a shift does not raise."""


class Story(Plant):
    """One seed: the plant, its chain, and a chain that starts on the last model."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.dice = random.Random(seed)
        self.editor = Editor(self.dice, Machines(seed))
        super().__init__(folder, self.editor.files, self.editor.machines)
        self.folder = folder
        self.log: list[str] = []
        self.start(*CONSUMERS, *GATEWAYS)

    def run(self) -> None:
        self.ticks(3)
        for _ in range(STEPS):
            self.step()
            self.ticks(self.dice.randrange(1, 12))
        self.heal()

    def step(self) -> None:
        dice = self.dice
        self.clock.advance(1)  # what was read until now is older than the edit
        for _ in range(dice.randrange(3)):
            self.log.append(self.editor.edit())
        self.write()
        # What no accepted model ever had is another's voice: ingest knows an edit, as the broker's rules do, before a gateway does.
        if "ingest" not in self.chain.processes:
            self.restart("ingest")
        self.chain.processes["ingest"].tick()
        for name in dice.sample([*CONSUMERS, *GATEWAYS], dice.randrange(6)):
            self.restart(name)
        if dice.random() < 0.2:
            self.chain.database.away = not self.chain.database.away
            self.log.append(f"database away: {self.chain.database.away}")
        if dice.random() < 0.3:
            name = dice.choice([*CONSUMERS, *GATEWAYS])
            if name in self.chain.processes:
                self.log.append(f"end {name}")
                self.chain.end(name, kill=dice.random() < 0.5)
        for name, process in self.chain.gateways.items():
            if dice.random() < 0.15:
                self.log.append(f"{name} loses its connection, or has it again")
                if process.session.is_connected:
                    process.session.lose()
                else:
                    process.session.start()

    def restart(self, name: str) -> None:
        kill = self.dice.random() < 0.5
        self.log.append(f"restart {name}{' after a kill' if kill else ''}")
        if name in self.chain.processes:
            self.chain.end(name, kill=kill)
        self.chain.start(name)

    def heal(self) -> None:
        """Everybody takes over the files, in any order; beside them a chain starts that knows nothing else."""
        self.chain.database.away = False
        self.machines.heal()
        names = [*CONSUMERS, *GATEWAYS]
        self.dice.shuffle(names)
        for name in names:
            self.restart(name)
            self.ticks(self.dice.randrange(3))
        self.fresh = Chain(self.config, self.folder / "fresh", self.machines, self.clock, self.chain.tokens)
        # An edit counts from when it was taken over; of before, only what oee keeps of it tells.
        (self.folder / "fresh/oee").mkdir(parents=True)
        shutil.copy(self.folder / "data/oee" / FILE, self.folder / "fresh/oee")
        for name in names:
            self.fresh.start(name)
        self.ticks(SETTLE_TICKS, self.chain, self.fresh)
        self.machines.heal()
        self.ticks(CALM_TICKS, self.chain, self.fresh, is_calm=True)
        self.clock.advance(1)  # what is confirmed is deleted half a second later
        self.chain.settle()

    def check(self) -> None:
        self.check_nothing_is_lost()
        self.check_topics()
        self.check_devices()
        self.check_alerts()
        self.check_figures()
        self.check_past()

    def check_nothing_is_lost(self) -> None:
        assert {name: gateway.depth for name, gateway in self.chain.gateways.items()} == dict.fromkeys(GATEWAYS, 0)
        assert self.chain.dead_letters == []
        for device, served in self.chain.served.items():
            assert served - self.chain.stored(device, "reads") == set(), f"lost readings of {device}"
        assert self.chain.oee.worker.figures.gaps_open == 0

    def check_topics(self) -> None:
        assert _of_assets(self.chain) == _of_assets(self.fresh)
        possible = {TOPICS.alert(each.line, each.device_id, each.rule) for each in self.chain.alerts.watched.values()}
        assert {topic for topic in self.chain.bus.retained if _is_alert(topic)} <= possible
        for topic, payload in self.chain.bus.retained.items():
            parsed = TOPICS.parse(topic)
            if parsed is not None and parsed.kind is Kind.OEE:
                flags = (decode(OeeDocument, each).flags for each in (payload, self.fresh.bus.retained[topic]))
                mine, theirs = (OF_NOW.intersection(each) for each in flags)
                assert mine == theirs, topic

    def check_devices(self) -> None:
        assert _different(_said(self.chain), _said(self.fresh)) == []

    def check_alerts(self) -> None:
        assert _different(_alarms(self.chain), _alarms(self.fresh)) == []

    def check_figures(self) -> None:
        """What was published last of a machine where it stands now is what the database gives on this model."""
        oee, now_ms = self.chain.oee, self.clock.now_ms()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("millrace_oee.recompute.Influx", lambda _settings: self.chain.database)
            for machine in oee.plan.machines.values():
                here, in_this_line = oee.windows(machine)
                again = recompute(oee.plan, DatabaseSettings(), machine.id, START_MS, now_ms)
                mine, theirs = ({_window(each): _figures(each) for each in documents} for documents in (here, again))
                both = mine.keys() & theirs.keys()  # what was told of shifts that there are no more stays as it is
                assert _different({n: mine[n] for n in both}, {n: theirs[n] for n in both}, machine.id) == []
                _check_told_once(in_this_line)

    def check_past(self) -> None:
        """Every reading can be had under the name that its device had, and every device that is gone is named as gone."""
        span = f"from={format_timestamp(START_MS)}&to={format_timestamp(self.clock.now_ms() + 1000)}"
        for device, served in self.chain.served.items():
            answer = _get(self.chain, f"/v1/readings?device={device}&signal=reads&{span}&limit=20000")
            assert {point["value"] for point in answer["points"]} >= served, device
        gone = {each["device_id"] for each in _get(self.chain, "/v1/devices")["gone"]}
        assert not gone & self.files.devices.keys()


def _check_told_once(documents: list[OeeDocument]) -> None:
    for kind in {each.window.kind for each in documents}:
        spans = sorted((each.window.start, each.window.end) for each in documents if each.window.kind == kind)
        assert all(end <= start for (_, end), (start, _) in pairwise(spans)), f"time that is told twice: {spans}"


def _window(document: OeeDocument) -> str:
    return f"{document.window.kind} {document.window.id} {document.window.start}"


def _figures(document: OeeDocument) -> Any:
    """Without what tells how it came about, and when."""
    plain = msgspec.to_builtins(document)
    return {name: value for name, value in plain.items() if name not in {"revision", "cause", "versions", "stream", "seq", "prev"}}


def _is_alert(topic: str) -> bool:
    parsed = TOPICS.parse(topic)
    return parsed is not None and parsed.kind is Kind.ALERT


def _of_assets(chain: Chain) -> set[str]:
    return {topic for topic in chain.bus.retained if not _is_alert(topic) and not topic.startswith("factory/_platform/")}


def _alarms(chain: Chain) -> dict[str, tuple[bool, str]]:
    return {name: (alert.facts.in_alarm, alert.evaluation) for name, alert in chain.alerts.worker._watch.alerts.items()}


def _different(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """Where two answers differ, each with both values."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return [
            each
            for key in sorted(mine.keys() | theirs.keys())
            for each in _different(mine.get(key), theirs.get(key), f"{path}/{key}")
        ]
    return [] if mine == theirs else [f"{path}: {mine!r}, fresh: {theirs!r}"]


def _said(chain: Chain) -> dict[str, Any]:
    """What the API says of each device and the page of each line, but for what only more of the past can tell."""
    devices = {each["device_id"]: each for each in _get(chain, "/v1/devices")["items"]}
    for each in devices.values():
        del each["open_alerts"], each["comms"]["since"], each["heard_at"]
        each["readings"].pop("reads", None)  # both chains read the same machines
        for reading in each["readings"].values():
            del reading["timestamp"], reading["good_until"]
    parts, _ = Overview(chain.alerts.context).parts()
    lines = {name: json.loads(text) for name, text in parts.items() if name != "alerts"}
    for line in lines.values():
        for each in (line, *line["machines"]):
            for figure in ("oee", "availability", "performance", "quality"):
                each.pop(figure, None)
    figures = [(each["line"], each["device_id"], each["window"]) for each in _get(chain, "/v1/oee")["items"]]
    return {"devices": devices, "lines": lines, "oee": figures}


def _get(chain: Chain, path: str) -> Any:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=chain.alerts.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})

    answer = asyncio.run(ask())
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(FIRST, FIRST + RUNS))
def test_a_changed_plant_says_what_a_fresh_start_would_say(seed: int, folder: Path) -> None:
    story = Story(seed, folder)
    try:
        story.run()
        story.check()
    except BaseException as error:
        error.add_note(f"seed {seed}: " + "; ".join(story.log))
        raise

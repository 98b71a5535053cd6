"""The chain in one process, without threads and sockets: the services' own classes on a bus, turned by the test step by step.

Each process reads the one configuration folder when it starts, as containers do, and keeps its data folder over restarts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import pytest

from millrace_alerts.api.app import create_app
from millrace_alerts.api.bell import Bell
from millrace_alerts.api.context import Context
from millrace_alerts.api.tokens import ApiTokens
from millrace_alerts.receiver import subscriptions as alerts_subscriptions
from millrace_alerts.service import load_configuration
from millrace_alerts.settings import AlertsSettings
from millrace_alerts.store import Reader
from millrace_alerts.store import Store as AlertsStore
from millrace_alerts.worker import Worker as AlertsWorker
from millrace_contract.language.messages import Status, Stored, decode, encode
from millrace_contract.language.oee_messages import OeeDocument
from millrace_contract.language.topics import Topics
from millrace_contract.language.words import WindowKind
from millrace_contract.plant.accepted import load_accepted
from millrace_contract.runtime.asking import Inquiries
from millrace_contract.runtime.clock import moment
from millrace_contract.runtime.health import Heartbeats
from millrace_contract.runtime.influx import Influx
from millrace_contract.runtime.intake import Intake
from millrace_contract.runtime.mqtt.session import Callbacks, Received
from millrace_contract.runtime.remembered_devices import RememberedDevices
from millrace_contract.runtime.settings import BrokerSettings
from millrace_contract.runtime.status import last_will
from millrace_contract.store_forward.from_ingest import FromIngest
from millrace_contract.store_forward.limits import limits_of
from millrace_contract.store_forward.losses import ledger_encoder
from millrace_contract.store_forward.outbox_file import outbox_in
from millrace_contract.store_forward.store_file import open_store
from millrace_contract.testing import ManualClock
from millrace_gateway.decoder import Snapshot
from millrace_gateway.faults import NotConnected
from millrace_gateway.fleet import load_fleet
from millrace_gateway.polled_device import PolledDevice
from millrace_gateway.read_result import ReadResult
from millrace_gateway.settings import GatewaySettings
from millrace_gateway.uplink import Uplink
from millrace_ingest.confirmations import Identity, confirmations
from millrace_ingest.decoder import STORED_KINDS, Accepted, Rejected
from millrace_ingest.plant_watch import PlantWatch
from millrace_oee.machine import Machine
from millrace_oee.master_data import remembered
from millrace_oee.plan import load_plan
from millrace_oee.receiver import subscriptions as oee_subscriptions
from millrace_oee.store import OEE_STORE
from millrace_oee.worker import Worker as OeeWorker

from .bus import Bus, BusSession
from .edits import GATEWAYS
from .machines import Machines
from .memory_database import MemoryDatabase

LIMITS = limits_of(64, 30)


class Process(Protocol):
    """`connected`: whether its network works; `turn` does what its threads would do now, and says whether there was anything."""

    def turn(self) -> bool: ...

    def tick(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    @property
    def session(self) -> BusSession: ...

    @property
    def disk_problem(self) -> str | None: ...


class AtOnce:
    """An event loop for who only hands calls to it."""

    def call_soon_threadsafe(self, call: Callable[[], object]) -> None:
        call()

    def is_closed(self) -> bool:
        return False


class Gateway:
    """Its uplink and outbox, and its devices, read without Modbus."""

    def __init__(self, chain: Chain, instance: str, data: Path) -> None:
        self._chain, self._clock = chain, chain.clock
        settings = GatewaySettings(config=chain.config, data=data, instance=instance)
        accepted = load_accepted(chain.config, data, lambda folder: load_fleet(folder, instance), chain.clock.now_ms())
        self.fleet = accepted.model
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("millrace_gateway.uplink.LeanSession", chain.bus.session)
            self._uplink = Uplink(
                settings, self.fleet, self._clock, lambda: None, on_session=self._report, on_sensor=lambda *_: None
            )
        self._uplink._loop = cast("Any", AtOnce())
        self.devices = [
            PolledDevice(each, self.fleet.plant.profile_of(each.id), start_s=0.0, fraction=0.0) for each in self.fleet.devices
        ]
        self._status = Status(service="gateway", instance=instance, alive=True)
        self._uplink.outbox._try_to_open(moment(self._clock))
        self.session.start()
        self._say(alive=True)

    @property
    def session(self) -> BusSession:
        return cast("BusSession", self._uplink.session)

    @property
    def disk_problem(self) -> str | None:
        return self._uplink.outbox.stats().disk_problem

    @property
    def depth(self) -> int:
        """Messages that are not safe yet."""
        file = self._uplink.outbox._file
        assert file is not None
        return file.outbox.depth + len(self._uplink.outbox._inbox)

    def tick(self) -> None:
        """A turn of every device."""
        now = moment(self._clock)
        # Two gateways may read a device while it is moved: never in the same millisecond, which would be one point.
        now = now._replace(epoch_ms=now.epoch_ms + GATEWAYS.index(self._status.instance))
        for device in self.devices:
            values = self._chain.machines.read(device.device.id, self.fleet.plant.profile_of(device.device.id))
            result = ReadResult(Snapshot(), fault=NotConnected("timeout", "no answer"))
            if values is not None:
                result = ReadResult(Snapshot(readings=values), arrived_ms=now.epoch_ms, round_trip_ms=2.0)
            group, _ = device.plan_for("fast")
            snapshot, is_news = device.take(group, result, now.epoch_ms, now.monotonic_s)
            if snapshot is not None:
                self._uplink.take_snapshot(device, snapshot, now.epoch_ms)
                if "reads" in snapshot.readings:
                    self._chain.served[device.device.id].add(float(snapshot.readings["reads"]))
            if is_news:
                self._uplink.take_comms(device)
        self._uplink.publish_all_comms()  # as once a minute
        self._say(alive=True)

    def turn(self) -> bool:
        outbox = self._uplink.outbox
        is_some = bool(outbox._inbox._events or outbox._inbox._answers or outbox._inbox._drafts)
        outbox._round(moment(self._clock))
        return is_some

    def stop(self) -> None:
        self._say(alive=False)
        self._uplink.outbox._finish()
        self.session.stop()

    def kill(self) -> None:
        self._uplink.outbox._close()
        self.session.lose()

    def _say(self, *, alive: bool) -> None:
        self.session.publish(
            self._uplink.topics.status("gateway", self._status.instance), encode(_alive(self._status, alive=alive)), retain=True
        )

    def _report(self) -> None:
        for device in getattr(self, "devices", ()):
            device.report_everything()


class Ingest:
    """Its decoder and its view of the plant, before the database; what is stored or parked is confirmed."""

    def __init__(self, chain: Chain, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._chain = chain
        self._watch = PlantWatch(chain.config, data)
        self._topics = topics = Topics(self._watch.plant.root)
        self._waiting: list[Received] = []
        self.session = chain.bus.session(
            BrokerSettings(),
            "ingest-1",
            Callbacks(message=self._waiting.append),
            filters=[each for kind in STORED_KINDS for each in topics.filters(kind)],
            will=last_will(topics, "ingest", "1"),
            persistent=True,
            manual_ack=True,
        )
        self.session.start()
        self.tick()

    @property
    def disk_problem(self) -> str | None:
        return None

    def tick(self) -> None:
        self._watch.look()
        taking = not self._chain.database.away
        status = Status(service="ingest", instance="1", alive=True, taking=taking)
        self.session.publish(self._topics.status("ingest", "1"), encode(status), retain=True)

    def turn(self) -> bool:
        if self._chain.database.away:
            return False
        messages, self._waiting[:] = list(self._waiting), []
        safe: list[Identity] = []
        for received in messages:
            verdict = self._watch.decoder.decode(received.topic, received.payload, self._chain.clock.now_ms())
            if isinstance(verdict, Accepted):
                self._chain.database.write(verdict.bucket, verdict.line)
            elif isinstance(verdict, Rejected):
                self._chain.dead_letters.append(f"{received.topic}: {verdict.reason}")
            identity = verdict.identity if isinstance(verdict, Accepted | Rejected) else None
            safe += [identity] if identity else []
        for each in confirmations(safe):
            topic, payload = self._topics.stored(each.sender), encode(Stored(stream=each.stream, seqs=each.seqs))
            self.session.publish(topic, payload)
        self.session.acknowledge_all(messages)
        return bool(messages)

    def stop(self) -> None:
        self.session.publish(
            self._topics.status("ingest", "1"), encode(Status(service="ingest", instance="1", alive=False)), retain=True
        )
        self.session.stop()

    def kill(self) -> None:
        self.session.lose()


class Oee:
    """The worker of oee, its store, and what it reads back."""

    def __init__(self, chain: Chain, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._chain = chain
        accepted = load_accepted(chain.config, data, load_plan, chain.clock.now_ms())
        plan = remembered(data, accepted.model, accepted.accepted_ms or chain.clock.now_ms())
        self.plan = plan
        now_ms = chain.clock.now_ms()
        self._store = open_store(OEE_STORE, data / "oee.db", now_ms)
        self._intake: Intake[Any] = Intake(receive_maximum=100_000, items_a_batch=1)
        self.session = _session(chain, "oee", self._intake, plan.topics, oee_subscriptions(plan.topics, "oee-1"))
        outbox, _ = outbox_in(
            self._store,
            "oee-1",
            ledger_topic=plan.topics.ledger("oee", "1"),
            encode_loss=ledger_encoder("oee", "1"),
            now_ms=now_ms,
        )
        self.worker = OeeWorker(
            plan=plan,
            connection=self._store.connection,
            outbox=outbox,
            path=data / "oee.db",
            limits=LIMITS,
            session=self.session,
            influx=cast("Influx", chain.database),
            intake=self._intake,
            from_ingest=FromIngest(plan.topics, "oee-1"),
            clock=chain.clock,
            heartbeats=Heartbeats(chain.clock),
            remembered=RememberedDevices(chain.config, data, plan.plant, chain.clock),
        )
        self.session.start()

    @property
    def disk_problem(self) -> str | None:
        return self.worker.disk_problem

    def tick(self) -> None:
        self._intake.published(-1, True)  # a turn without messages: time has passed

    def turn(self) -> bool:
        reader = self.worker._reader
        while reader._requests:
            self._intake.hand_over(reader._read(reader._requests.popleft()))
        return _turned(self._intake, self.worker._turns)

    def windows(self, machine: Machine) -> tuple[list[OeeDocument], list[OeeDocument]]:
        """The ended windows of a machine where it stands now; and all of it in this line, also by other profiles before."""
        kinds = ", ".join(f"'{kind}'" for kind in WindowKind)
        rows = self._store.connection.execute(f"SELECT scope, message FROM result WHERE kind IN ({kinds})").fetchall()
        found = [(scope, decode(OeeDocument, message)) for scope, message in rows]
        of_line = [(scope, each) for scope, each in found if (each.device_id, each.line) == (machine.id, machine.line)]
        return [each for scope, each in of_line if scope == machine.id], [each for _, each in of_line]

    def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._store.close()
        self.session.lose()


class Alerts:
    """The worker of alerts, its store and its API."""

    def __init__(self, chain: Chain, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self._chain = chain
        accepted = load_accepted(chain.config, data, load_configuration, chain.clock.now_ms())
        self.plant = accepted.model.plant
        topics = Topics(self.plant.root)
        self._store = AlertsStore(data / "alerts.db", chain.clock.now_ms())
        self._intake: Intake[Any] = Intake(receive_maximum=100_000)
        self.session = _session(chain, "alerts", self._intake, topics, alerts_subscriptions(topics, "alerts-1"))
        outbox, _ = outbox_in(
            self._store.database,
            "alerts-1",
            ledger_topic=topics.ledger("alerts", "1"),
            encode_loss=ledger_encoder("alerts", "1"),
            now_ms=chain.clock.now_ms(),
        )
        self.worker = AlertsWorker(
            plant=self.plant,
            rules=accepted.model.rules,
            reasons={},
            store=self._store,
            outbox=outbox,
            limits=LIMITS,
            session=self.session,
            intake=self._intake,
            from_ingest=FromIngest(topics, "alerts-1"),
            clock=chain.clock,
            heartbeats=Heartbeats(chain.clock),
            changed=lambda: None,
            remembered=RememberedDevices(chain.config, data, self.plant, chain.clock),
        )
        self.watched = self.worker.rules.now.watched
        self.worker._adopt_rules()
        self.session.start()
        self.context = Context(
            settings=AlertsSettings(config=chain.config, data=data),
            plant=self.plant,
            rules=self.worker.rules,
            reasons={},
            asker=Inquiries(topics, "alerts-1", chain.clock),
            reader=Reader(self._store.path),
            submit=self._intake.hand_over,
            bell=Bell(),
            tokens=ApiTokens(chain.tokens, chain.clock),
            influx=cast("Influx", chain.database),
            clock=chain.clock,
            heartbeats=Heartbeats(chain.clock),
            readiness=dict,
        )
        self.app = create_app(self.context)

    @property
    def disk_problem(self) -> str | None:
        return self.worker.disk_problem

    def tick(self) -> None:
        self._intake.published(-1, True)

    def turn(self) -> bool:
        return _turned(self._intake, self.worker._turns)

    def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self._store.close()
        self.session.lose()


class Chain:
    """All of them, by name: `ingest`, `oee`, `alerts`, and gateways by theirs. None: it does not run."""

    def __init__(self, config: Path, data: Path, machines: Machines, clock: ManualClock, tokens: Path) -> None:
        self.config, self.machines, self.clock = config, machines, clock
        self.bus = Bus()
        self.database = MemoryDatabase()
        self.dead_letters: list[str] = []
        self.served: dict[str, set[float]] = defaultdict(set)
        """By device, the numbers of the reads that were handed to a gateway's outbox."""
        self.tokens = tokens
        self.processes: dict[str, Process] = {}
        self._data = data

    def start(self, name: str) -> None:
        assert name not in self.processes
        data = self._data / name
        make = {"ingest": Ingest, "oee": Oee, "alerts": Alerts}.get(name)
        self.processes[name] = cast("Process", Gateway(self, name, data) if make is None else make(self, data))

    def end(self, name: str, *, kill: bool = False) -> None:
        process = self.processes.pop(name)
        if kill:
            process.kill()
        else:
            process.stop()

    def settle(self) -> None:
        """Until nobody has anything to do at this moment."""
        busy: list[str] = []
        for _ in range(2_000):
            is_some = self.bus.pump()
            busy = [name for name, process in list(self.processes.items()) if process.turn()]
            if not is_some and not busy:
                return
        disks = {name: self.processes[name].disk_problem for name in busy}
        raise AssertionError(f"the chain does not come to rest: {disks} go on, {self.bus.on_its_way()}")

    def tick(self) -> None:
        """Everybody's turn at this moment; the clock is the test's."""
        for process in list(self.processes.values()):
            process.tick()
        self.settle()

    @property
    def oee(self) -> Oee:
        return cast("Oee", self.processes["oee"])

    @property
    def alerts(self) -> Alerts:
        return cast("Alerts", self.processes["alerts"])

    @property
    def gateways(self) -> dict[str, Gateway]:
        return {name: each for name, each in self.processes.items() if isinstance(each, Gateway)}

    def stored(self, device: str, field: str) -> set[float]:
        """Every value of a field that the database has of a device."""
        series = self.database.buckets["telemetry"].items()
        of_device = [points for (_, tags), points in series if dict(tags).get("device") == device]
        return {each[field] for points in of_device for each in points.values() if field in each}


def _alive(status: Status, *, alive: bool) -> Status:
    return Status(service=status.service, instance=status.instance, alive=alive)


def _session(chain: Chain, service: str, intake: Intake[Any], topics: Topics, filters: list[str]) -> BusSession:
    return chain.bus.session(
        BrokerSettings(),
        f"{service}-1",
        Callbacks(
            messages=intake.put_all,
            connected=lambda: intake.connection(connected=True),
            disconnected=lambda: intake.connection(connected=False),
            published=intake.published,
        ),
        filters=filters,
        will=last_will(topics, service, "1"),
        persistent=True,
        manual_ack=True,
    )


def _turned(intake: Intake[Any], turns: Any) -> bool:
    some = bool(intake._messages or intake._items or intake._published or intake._connected is not None)
    if some:
        turns._turn()
    return some

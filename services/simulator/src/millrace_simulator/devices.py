"""The simulated plant as it is now: each device with its machine, its registers and its faults. No sockets; one loop owns it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from millrace_contract.language.words import MachineState
from millrace_contract.plant import Calendar, Device, PlantModel, Profile

from .faults import Fault, FaultBoard, FaultKind
from .frames import BIT_TABLES, ModbusRequest, bits_pdu, registers_pdu
from .image import Image
from .kinds import KINDS
from .machine import SimulatedMachine, StateChange
from .memory import SavedLives, ServedCounters, load_lives, save_lives
from .registers import modulus_of
from .schedule import Schedule
from .truth import Change, Made, Read, TruthWriter

MADE_EVERY_MS = 10_000
"""How often the truth takes down what a machine has made; minutes, where windows begin and end, are among these times."""


def build_machine(plant: PlantModel, calendar: Calendar, device: Device, seed: int, speed: float = 1.0) -> SimulatedMachine:
    """The machine behind a device, not yet begun."""
    kind = KINDS[plant.profile_of(device.id).asset_class]
    schedule = Schedule(calendar, device.line, plant.zone)
    return SimulatedMachine(device.id, kind, schedule, seed, cycle_s=device.ideal_cycle_s, speed=speed)


def simulated_devices(plant: PlantModel, only_host: str = "", *, with_tls: bool = False) -> list[Device]:
    """The devices that the simulator serves: reached over TCP, and at this host where one is named."""
    transports = ("tcp", "rtu_over_tcp", "tls") if with_tls else ("tcp", "rtu_over_tcp")
    return [
        device
        for device in plant.devices.values()
        if device.connection.transport in transports and only_host in ("", device.connection.host)
    ]


@dataclass(slots=True)
class SimulatedDevice:
    id: str
    transport: str
    port: int
    unit: int
    profile: Profile
    image: Image
    machine: SimulatedMachine
    made_at_ms: int = 0


class SimulatedPlant:
    """All simulated devices. Not thread-safe."""

    def __init__(
        self,
        plant: PlantModel,
        calendar: Calendar,
        devices: Iterable[Device],
        *,
        data: Path,
        truth: TruthWriter,
        seed: int,
        speed: float = 1.0,
    ) -> None:
        self.faults = FaultBoard(seed)
        self.devices: dict[str, SimulatedDevice] = {}
        self._truth = truth
        self._seed, self._speed = seed, speed
        self._lives_path = data / "machines.json"
        self._counters = ServedCounters(data / "counters.json")
        images: dict[str, Image] = {}
        for device in devices:
            profile = plant.profile_of(device.id)
            image = images.setdefault(profile.name, Image(profile))
            machine = build_machine(plant, calendar, device, seed, speed)
            place = device.connection
            self.devices[device.id] = SimulatedDevice(device.id, place.transport, place.port, place.unit, profile, image, machine)

    def begin(self, now_ms: int) -> None:
        """Bring every machine to the present. Raises OSError when the data folder can't be written."""
        self._counters.begin(list(self.devices))
        saved = load_lives(self._lives_path, self._seed, self._speed)
        lives = saved.lives
        self.faults.resume([entry for entry in saved.faults if entry[0].device in self.devices])
        for device in self.devices.values():
            if device.id in lives:
                device.machine.resume(lives[device.id], now_ms)
            else:
                device.machine.begin(now_ms)
            self._truth.note(Change(now_ms, device.id, device.machine.state, device.machine.life.stretch.reason))

    def advance(self, now_ms: int) -> None:
        """Let every machine live until now and keep what it did; called each second."""
        for device in self.devices.values():
            self._advance(device, now_ms)
            if now_ms // MADE_EVERY_MS > device.made_at_ms // MADE_EVERY_MS:
                device.made_at_ms = now_ms
                self._truth.note(Made(now_ms, device.id, device.machine.total, device.machine.rejects))

    def serve(self, device: SimulatedDevice, request: ModbusRequest, now_ms: int, fault: Fault | None) -> bytes:
        """The answer's PDU. The truth has it when this returns. Raises ModbusError, or OSError when the truth can't be written."""
        self._advance(device, now_ms)
        counted = device.image.covers_reads_served(request)
        counter = self._counters.following(device.id) if counted else self._counters.value(device.id)
        answer = device.image.read(request, device.machine, now_ms, counter)
        if counted:
            self._counters.step(device.id)
        self._truth.write(Read(now_ms, device.id, counter, counted, answer.raw, fault.kind.value if fault else None))
        if request.table in BIT_TABLES:
            return bits_pdu(request.function, answer.words)
        return registers_pdu(request.function, answer.words)

    def command(self, fault: Fault, now_ms: int) -> None:
        """Begin a fault. The device must exist. A machine's fault is remembered over a restart, a connection's is not."""
        machine = self.devices[fault.device].machine
        self.faults.begin(fault, now_ms)
        match fault.kind:
            case FaultKind.JAM:
                self._keep(fault.device, machine.interrupt(now_ms, MachineState.HELD, "jam", fault.seconds))
            case FaultKind.STOP:
                self._keep(fault.device, machine.interrupt(now_ms, MachineState.STOPPED, "commanded", fault.seconds))
            case FaultKind.POWER_OFF:
                self._keep(fault.device, machine.interrupt(now_ms, MachineState.ABORTED, "power off", fault.seconds))
                machine.move_counters(now_ms, by=None)
            case FaultKind.OVERHEAT:
                machine.overheat(now_ms, fault.seconds)
            case FaultKind.COUNTER_RESET:
                machine.move_counters(now_ms, by=None)
            case FaultKind.COUNTER_JUMP:
                machine.move_counters(now_ms, by=fault.count)
            case FaultKind.COUNTER_WRAP:
                machine.move_counters(now_ms, by=_limit(self.devices[fault.device].profile) - fault.count - machine.total)
            case FaultKind.CLOCK_JUMP:
                machine.move_clock(now_ms, by_ms=fault.count * 1000)
            case _:
                return
        lives = {device.id: device.machine.life for device in self.devices.values()}
        save_lives(self._lives_path, SavedLives(self._seed, self._speed, lives, self.faults.machines(now_ms)))

    def _advance(self, device: SimulatedDevice, now_ms: int) -> None:
        self._keep(device.id, device.machine.advance(now_ms))

    def _keep(self, device: str, transitions: list[StateChange]) -> None:
        for change in transitions:
            self._truth.note(Change(change.time_ms, device, change.state, change.reason))


def _limit(profile: Profile) -> int:
    """How many parts the profile's counter of parts can show; where it has none, what 16 bits can."""
    name = profile.oee.total or profile.oee.good if profile.oee is not None else None
    signal = profile.register_signals[name] if name is not None else None
    return round(modulus_of(signal) * signal.scale / signal.divisor) if signal is not None else 1 << 16

"""A Modbus server that costs next to nothing, for any number of devices, and its handle: what it served, and when.

Each device has an address of its own in 127/8. Registers never change; every answer is built once. A device can be silent.

usage: python benchmarks/_modbus_server.py PORT     (commands on standard input, a JSON answer a line: polls | silence ADDRESS...)
"""

from __future__ import annotations

import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

REGISTERS = struct.pack(">1000f", *(20 + place % 100 / 7 for place in range(1000)))


class ModbusServer:
    """The handle: starts the server as a process of its own."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def polls(self) -> Polls:
        """What was read since the last call, or since the start."""
        answer = json.loads(self._say("polls"))
        return Polls(answer["requests"], answer["begins"])

    def silence(self, addresses: Iterable[str]) -> None:
        """These devices accept connections and say nothing; all others answer."""
        self._say(f"silence {' '.join(addresses)}")

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _say(self, command: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()


@dataclass(frozen=True)
class Polls:
    """Requests served, and by device (its address) when its first register was asked for, as the server saw it."""

    requests: int
    begins: dict[str, list[float]]

    def count(self, addresses: Sequence[str] | None = None) -> int:
        return sum(len(times) for address, times in self.begins.items() if addresses is None or address in addresses)

    def lateness(self, interval_s: float, addresses: Sequence[str] | None = None) -> list[float]:
        """By how much of the interval each read began later than one interval after the one before; sorted."""
        return sorted(
            max(0.0, (after - before) / interval_s - 1)
            for address, times in self.begins.items()
            if addresses is None or address in addresses
            for before, after in pairwise(times)
        )


def serve(port: int) -> None:
    """Until its starter is gone. One thread, no library: it shares the machine with what it measures."""
    _Server(port).run()


class _Server:
    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("0.0.0.0", port), backlog=2_000)
        self._poll = select.epoll()
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self._connections: dict[int, tuple[socket.socket, str]] = {}
        self._answers: dict[bytes, bytes] = {}
        self._begins: dict[str, list[float]] = {}
        self._silent: set[str] = set()
        self._requests = 0

    def run(self) -> None:
        print("ready", flush=True)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor in self._connections:
                    self._serve(descriptor)
                elif descriptor == self._listener.fileno():
                    self._accept()
                elif not self._obey(sys.stdin.readline().split()):
                    return

    def _obey(self, command: list[str]) -> bool:
        """False at the end of the input: who started us is gone."""
        if not command:
            return False
        if command[0] == "silence":
            self._silent = set(command[1:])
            print("{}", flush=True)
        else:
            print(json.dumps({"requests": self._requests, "begins": self._begins}), flush=True)
            self._requests, self._begins = 0, {}
        return True

    def _accept(self) -> None:
        channel, _ = self._listener.accept()
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[channel.fileno()] = channel, channel.getsockname()[0]
        self._poll.register(channel.fileno(), select.EPOLLIN)

    def _serve(self, descriptor: int) -> None:
        channel, address = self._connections[descriptor]
        try:
            data = channel.recv(1_200)
        except ConnectionError:
            data = b""
        if not data:
            self._poll.unregister(descriptor)
            del self._connections[descriptor]
            channel.close()
        for at in range(0, len(data) - 11, 12):
            question = data[at + 6 : at + 12]
            if question[2:4] == b"\0\0":
                self._begins.setdefault(address, []).append(time.monotonic())
            if address in self._silent:
                continue
            self._requests += 1
            answer = self._answers.get(question)
            if answer is None:
                self._answers[question] = answer = _answer(question)
            channel.send(data[at : at + 2] + answer)


def _answer(question: bytes) -> bytes:
    unit, function, address, count = struct.unpack(">BBHH", question)
    data = REGISTERS[2 * address : 2 * (address + count)]
    return struct.pack(">HHBBB", 0, 3 + len(data), unit, function, len(data)) + data


if __name__ == "__main__":
    serve(int(sys.argv[1]))

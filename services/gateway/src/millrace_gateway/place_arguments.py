"""Where a device is, as `probe` and `scan` take it from the command line: every transport that plant.yaml knows."""

from __future__ import annotations

import argparse
import re

from millrace_contract.errors import ConfigurationProblems, Problem

from .endpoint import Endpoint

_PORT_NAME = re.compile(r"/dev/|COM\d+$|\\\\")


def add_place_arguments(parser: argparse.ArgumentParser, *, timeout_s: float) -> None:
    parser.add_argument("host", metavar="HOST[:PORT]", help="port 502 unless given; or a serial port, like /dev/ttyUSB0")
    parser.add_argument(
        "--transport",
        choices=["tcp", "tls", "rtu_over_tcp", "serial"],
        help="default: serial for the name of a serial port, else tcp",
    )
    parser.add_argument("--timeout-s", type=float, default=timeout_s, metavar="S", help=f"time limit (default {timeout_s:g})")
    parser.add_argument(
        "--pause-after-connect-ms", type=float, default=0.0, metavar="MS", help="leave the device alone so long after connecting"
    )
    parser.add_argument(
        "--tolerate",
        action="append",
        choices=["transaction", "unit"],
        default=[],
        help="accept answers with a wrong number of this kind, as the key tolerate of a profile does",
    )
    parser.add_argument("--baud-rate", type=int, default=19_200, metavar="N", help="serial (default 19200)")
    parser.add_argument("--parity", choices=["N", "E", "O"], default="E", help="serial (default E)")
    parser.add_argument("--stop-bits", type=int, choices=[1, 2], default=1, help="serial (default 1)")
    parser.add_argument("--ca-file", metavar="FILE", help="tls: who signed the device's certificate")
    parser.add_argument("--certificate-file", metavar="FILE", help="tls: our certificate")
    parser.add_argument("--key-file", metavar="FILE", help="tls: its key")


def place_of(options: argparse.Namespace) -> tuple[Endpoint, float]:
    """Where to ask, and the pause after connecting in seconds. Raises ConfigurationProblems."""
    if options.timeout_s <= 0:
        raise mistake("--timeout-s", f"{options.timeout_s:g} is not allowed: more than 0")
    if not 0 <= options.pause_after_connect_ms <= 30_000:
        raise mistake("--pause-after-connect-ms", f"{options.pause_after_connect_ms:g} is not allowed: 0 to 30000")
    transport = options.transport or ("serial" if _PORT_NAME.match(options.host) else "tcp")
    if transport == "serial":
        line = {"baud_rate": options.baud_rate, "parity": options.parity, "stop_bits": options.stop_bits}
        return Endpoint("serial", options.host, **line), options.pause_after_connect_ms / 1000
    host, port = _host_and_port(options.host)
    files = {"ca_file": options.ca_file, "certificate_file": options.certificate_file, "key_file": options.key_file}
    return Endpoint(transport, host, port, **files), options.pause_after_connect_ms / 1000


def mistake(key: str, message: str) -> ConfigurationProblems:
    return ConfigurationProblems([Problem("command line", 0, key, message)])


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host and not host.endswith("]")):
        host, port = text, "502"
    if not host or not port.isdigit() or not 1 <= int(port) <= 0xFFFF:
        raise mistake("HOST[:PORT]", f"{text!r} is not a host, or a host and a port from 1 to 65535")
    return host.strip("[]"), int(port)

"""The arguments of `millrace doctor`, and what a person reads."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import Any

from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.settings import load_settings

from ..settings import AdminSettings
from .examine import examine
from .finding import exit_status
from .gather import gather, with_other_instances
from .host_report import all_logs, read_sections, with_seen
from .sites import of_demo, of_settings
from .support import scrubber_of, support_text, write_support
from .telling import lines_of

PATIENCE_S = 12.0
"""A status comes every ten seconds."""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """`millrace doctor`; returns its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor", help="say what is wrong, why, and what mends it; exit status 0, 1 (mends by itself) or 2 (needs somebody)"
    )
    parser.add_argument("--secrets", metavar="DIR", help="folder of all secrets (default: MILLRACE_SECRETS)")
    parser.add_argument("--demo", type=Path, metavar="DIR", help="look at the demo that keeps its data there")
    parser.add_argument("--seen", metavar="FILE", help="what scripts/doctor saw of the containers (- for standard input)")
    parser.add_argument(
        "--wait", type=float, default=PATIENCE_S, metavar="SECONDS", help="how long to listen for statuses (default: %(default)g)"
    )
    parser.add_argument(
        "--support", metavar="FILE", help="write one file for support, without secrets and names of people (- for standard output)"
    )
    parser.set_defaults(command=_doctor)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    # What the sessions would log of their connections is told below, in words.
    logging.getLogger("millrace_contract").setLevel(logging.CRITICAL)
    clock = SystemClock()
    settings = load_settings(AdminSettings, os.environ, config=options.config, secrets=options.secrets)
    site = of_settings(settings) if options.demo is None else of_demo(settings, options.demo, clock)
    facts, logs = gather(site, clock, options.wait), site.logs
    if options.seen is not None:
        # Last: it is still being collected while we listen.
        seen = read_sections(sys.stdin.read() if options.seen == "-" else Path(options.seen).read_text(encoding="utf-8"))
        facts, logs = with_other_instances(with_seen(facts, seen), site), all_logs(seen)
    findings = examine(facts)
    for line in lines_of(findings, as_json=options.json):
        print(line, file=sys.stderr if options.support == "-" else sys.stdout)
    if options.support is not None:
        password = site.settings.mqtt_password.get_secret_value()
        scrubber = scrubber_of(site.settings.secrets, facts.access.accounts if facts.access else {}, [password])
        text = support_text(facts, findings, logs, scrubber)
        if options.support == "-":
            sys.stdout.write(text)
        else:
            write_support(options.support, text)
            print(f"for support: {options.support}, without secrets and names of people; look at it before you give it away")
    return exit_status(findings)

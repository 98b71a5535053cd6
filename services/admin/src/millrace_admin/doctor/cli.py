"""The arguments of `millrace doctor`, and what a person reads."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from millrace_contract.errors import CannotStart
from millrace_contract.language.looks import PROGNOSIS_LOOKS
from millrace_contract.language.words import Prognosis
from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.settings import load_settings

from ..settings import AdminSettings
from .examine import examine
from .finding import Finding, exit_status
from .gather import gather
from .host_report import read_sections
from .sites import of_demo, of_settings
from .support import scrubber_of, support_text

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
    if options.demo is not None:
        site = of_demo(settings, options.demo, clock)
    else:
        seen = None
        if options.seen is not None:
            seen = read_sections(sys.stdin.read() if options.seen == "-" else Path(options.seen).read_text(encoding="utf-8"))
        site = of_settings(settings, seen, clock)
    facts = gather(site, clock, options.wait)
    findings = examine(facts)
    tell(findings, sys.stderr if options.support == "-" else sys.stdout, as_json=options.json)
    if options.support is not None:
        password = site.settings.mqtt_password.get_secret_value()
        scrubber = scrubber_of(site.settings.secrets, facts.access.accounts if facts.access else {}, [password])
        _write_support(options.support, support_text(facts, findings, site.logs, scrubber))
    return exit_status(findings)


def _write_support(name: str, text: str) -> None:
    if name == "-":
        sys.stdout.write(text)
        return
    try:
        descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise CannotStart(name, f"the file for support cannot be written: {error.strerror}") from error
    sys.stderr.write(f"for support: {name}, without secrets and names of people; look at it before you give it away\n")


def tell(findings: Sequence[Finding], out: TextIO, *, as_json: bool) -> None:
    """A line a finding, and below it what mends it."""
    if as_json:
        for each in findings:
            row = {"prognosis": each.prognosis, "subject": each.subject, "cause": each.cause, "mend": each.mend}
            print(json.dumps(row, ensure_ascii=False), file=out)
        return
    width = max((len(each.subject) for each in findings), default=0)
    words = max(len(look.word) for look in PROGNOSIS_LOOKS.values())
    for each in findings:
        look = PROGNOSIS_LOOKS[each.prognosis]
        print(f"  {look.shape} {look.word:<{words}}  {each.subject:<{width}}  {each.cause}", file=out)
        if each.mend:
            print(f"    {'':<{words}}  {'':<{width}}  -> {each.mend}", file=out)
    print(f"\n{summary(findings)}", file=out)


def summary(findings: Sequence[Finding]) -> str:
    count = {prognosis: sum(each.prognosis is prognosis for each in findings) for prognosis in Prognosis}
    needs, goes = count[Prognosis.ACT], count[Prognosis.MENDS]
    said = [f"{needs} {'thing needs' if needs == 1 else 'things need'} somebody"] if needs else []
    said += [f"{goes} {'mends' if goes == 1 else 'mend'} by {'itself' if goes == 1 else 'themselves'}"] if goes else []
    return ", ".join(said) or "nothing is wrong"

"""What doctor says of one subject: the prognosis, the cause in plain words, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from millrace_contract.language.words import Prognosis

EXIT_FINE = 0
EXIT_MENDS = 1
"""Something is not as it should be and will be by itself."""
EXIT_ACT = 2
"""Somebody has to do something."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`mend`: a command, or what to do; empty where there is nothing to do."""

    prognosis: Prognosis
    subject: str
    cause: str
    mend: str = ""


def fine(subject: str, text: str) -> Finding:
    return Finding(Prognosis.FINE, subject, text)


def note(subject: str, text: str, mend: str = "") -> Finding:
    return Finding(Prognosis.NOTE, subject, text, mend)


def mends(subject: str, cause: str, mend: str = "") -> Finding:
    return Finding(Prognosis.MENDS, subject, cause, mend)


def act(subject: str, cause: str, mend: str) -> Finding:
    return Finding(Prognosis.ACT, subject, cause, mend)


def exit_status(findings: Iterable[Finding]) -> int:
    """The worst of them."""
    said = {finding.prognosis for finding in findings}
    return EXIT_ACT if Prognosis.ACT in said else EXIT_MENDS if Prognosis.MENDS in said else EXIT_FINE

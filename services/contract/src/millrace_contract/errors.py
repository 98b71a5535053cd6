"""Failures sorted by what to do about them.

Later: Unavailable. Never: Malformed. After a person has acted: Refusal. A person's mistake: ConfigurationProblems, and CannotStart
where no file is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass


class Unavailable(Exception):
    """Not now: keep the data and try again, after `retry_after_s` where the other side named a time."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Refusal(Exception):
    """What is needed answers, and refuses: a token, a right or a query is wrong. Keep the data; a person must act."""


class Malformed(Exception):
    """Never: this message breaks the contract. `reason` is for a person, `code` for counting."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in a configuration file. `line` counts from 1; 0 where there is no line to point at."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigurationProblems(Exception):
    """Every problem found, in the order of files and lines. Nothing was started or repaired."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        super().__init__("\n".join([*(str(problem) for problem in self.problems), f"{count}, nothing started"]))


class CannotStart(Exception):
    """This process cannot start, because of something that a person set or took: `place` names it (a variable, a file, a port),
    `reason` says what is wrong, and the way out. Nothing was started or changed.
    """

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")
        self.place = place
        self.reason = reason

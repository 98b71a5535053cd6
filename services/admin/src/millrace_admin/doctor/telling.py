"""Findings as a person reads them, or as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from millrace_contract.language.looks import PROGNOSIS_LOOKS
from millrace_contract.language.words import Prognosis

from .finding import Finding


def lines_of(findings: Sequence[Finding], *, as_json: bool) -> Iterator[str]:
    """A line a finding, and below it what mends it; last how many need somebody."""
    if as_json:
        for each in findings:
            row = {"prognosis": each.prognosis, "subject": each.subject, "cause": each.cause, "mend": each.mend}
            yield json.dumps(row, ensure_ascii=False)
        return
    width = max((len(each.subject) for each in findings), default=0)
    words = max(len(look.word) for look in PROGNOSIS_LOOKS.values())
    for each in findings:
        look = PROGNOSIS_LOOKS[each.prognosis]
        yield f"  {look.shape} {look.word:<{words}}  {each.subject:<{width}}  {each.cause}"
        if each.mend:
            yield f"    {'':<{words}}  {'':<{width}}  -> {each.mend}"
    yield f"\n{summary(findings)}"


def summary(findings: Sequence[Finding]) -> str:
    count = {prognosis: sum(each.prognosis is prognosis for each in findings) for prognosis in Prognosis}
    needs, goes = count[Prognosis.ACT], count[Prognosis.MENDS]
    said = [f"{needs} {'thing needs' if needs == 1 else 'things need'} somebody"] if needs else []
    said += [f"{goes} {'mends' if goes == 1 else 'mend'} by {'itself' if goes == 1 else 'themselves'}"] if goes else []
    return ", ".join(said) or "nothing is wrong"

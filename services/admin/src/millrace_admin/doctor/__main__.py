"""`millrace doctor` of an edge box, where only a gateway is installed: `millrace-edge check` runs it."""

from __future__ import annotations

import argparse
import sys

from millrace_contract.runtime.clock import SystemClock
from millrace_contract.runtime.lifecycle import answer_mistakes

from .edge_box import PATIENCE_S, EdgeBox
from .examine import examine
from .finding import exit_status
from .support import scrubber_of, support_text, write_support
from .telling import lines_of


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="millrace-edge check", description="Say what is wrong with this box, why, and what mends it."
    )
    parser.add_argument("--root", default="", metavar="DIR", help="a system tree that is not running")
    parser.add_argument("--json", action="store_true", help="print JSON lines instead of text")
    parser.add_argument("--support", metavar="FILE", help="write one file for support, without secrets and names of people")
    parser.add_argument(
        "--wait", type=float, default=PATIENCE_S, metavar="SECONDS", help="time for a gateway that has just started (%(default)g)"
    )
    options = parser.parse_args(argv)
    return answer_mistakes(lambda: _doctor(options), as_json=options.json)


def _doctor(options: argparse.Namespace) -> int:
    box = EdgeBox(options.root, SystemClock())
    facts = box.evidence(options.wait)
    findings = examine(facts)
    for line in lines_of(findings, as_json=options.json):
        print(line)
    if options.support is not None:
        write_support(options.support, support_text(facts, findings, box.logs(), scrubber_of(box.secret_files, {})))
        print(f"for support: {options.support}, without secrets and names of people; look at it before you give it away")
    return exit_status(findings)


if __name__ == "__main__":
    sys.exit(main())

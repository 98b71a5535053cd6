"""`profile import`: a device profile from a tag list."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from millrace_contract.runtime.lifecycle import EXIT_WELL

from ..commission import check_profile
from ..place_arguments import mistake
from ..tag_lists import as_text, import_tags


def show_profile(options: argparse.Namespace) -> int:
    """`profile import`: a tag list as a profile, and notes on what could not be carried over."""
    try:
        raw = options.file.read_bytes()
    except OSError as error:
        raise mistake("TAGS.csv", f"{options.file} cannot be read: {error.strerror}") from error
    name = options.file.stem
    made = import_tags(
        as_text(raw, options.file.name),
        options.file.name,
        title=options.title or name,
        device=options.device,
        order=options.order,
        model_at=options.model_at,
    )
    check_profile(made.text, name)
    if options.json:
        notes = [dataclasses.asdict(note) for note in made.notes]
        print(json.dumps({"signals": made.signals, "notes": notes, "profile": made.text}))
    else:
        print(made.text, end="")
        sys.stderr.write("".join(f"{note}\n" for note in made.notes))
        count = f"{made.signals} signal{'s' * (made.signals != 1)}, {len(made.notes)} note{'s' * (len(made.notes) != 1)}"
        sys.stderr.write(f"{count}. Save as profiles/<vendor>-<model>.yaml, fill in source, and run millrace check.\n")
    return EXIT_WELL

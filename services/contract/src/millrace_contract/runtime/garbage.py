"""How often Python looks for garbage that refers to itself: seldom, where there is hardly any and many messages come and go."""

import gc
from typing import Final

ALLOCATIONS: Final = 20_000
"""Objects that come and do not go between two looks."""


def look_seldom() -> None:
    """Call it once, when a service is built: what is there lives as long as the process, and is never looked through again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS)

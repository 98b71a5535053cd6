"""Text that people write: what is shown of it is what was written.

Control and format characters, and those of no meaning, can hide or turn around what stands beside them on a screen, in a log and
in an export; only the two joiners, which several scripts need, are kept.
"""

import unicodedata

JOINERS = "\u200c\u200d"
_NEVER_SHOWN = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})


def shown_as_written(text: str) -> str:
    """One line. Raises ValueError, with the character's place and number."""
    for index, character in enumerate(text):
        if unicodedata.category(character) in _NEVER_SHOWN and character not in JOINERS:
            raise ValueError(f"character {index + 1} (U+{ord(character):04X}) cannot be shown; leave it out")
    return text


def lines_as_written(text: str) -> str:
    """One line or several. Raises ValueError."""
    for line in text.split("\n"):
        shown_as_written(line)
    return text

"""Text that people write: what is shown of it is what was written.

Control and format characters can hide or turn around what stands beside them on a screen, in a log and in an export; only the
two joiners, which several scripts need, are kept. The one pattern is the rule, and what OpenAPI says of it.
"""

import re

# The characters themselves, no escapes: so the pattern means the same to Python, ECMAScript and whoever reads the description.
_CONTROLS = "\x00-\x09\x0b-\x1f\x7f-\x9f"
_FORMATS = (
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u180e\u200b\u200e-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_SPACES = "\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
_NEVER = re.compile(f"[{_CONTROLS}{_FORMATS}]")
ONE_LINE = f"^[^{_CONTROLS}{_FORMATS}\n]*[^{_CONTROLS}{_FORMATS}{_SPACES}\n][^{_CONTROLS}{_FORMATS}\n]*$"
"""With at least one character that is no space."""
LINES = f"^[^{_CONTROLS}{_FORMATS}]*[^{_CONTROLS}{_FORMATS}{_SPACES}\n][^{_CONTROLS}{_FORMATS}]*$"


def shown_as_written(text: str) -> str:
    """One line. Raises ValueError, with the character's place and number."""
    return _shown(text, but_not="\n")


def lines_as_written(text: str) -> str:
    """One line or several. Raises ValueError."""
    return _shown(text)


def _shown(text: str, but_not: str = "") -> str:
    found = _NEVER.search(text)
    places = [found.start()] if found else []
    places += [text.index(each) for each in but_not if each in text]
    if places:
        raise ValueError(f"character {min(places) + 1} (U+{ord(text[min(places)]):04X}) cannot be shown; leave it out")
    return text

"""From a tag list that people have to a device profile: one module a format, one that builds the profile. Pure.

What changes a value comes along, or the tag does not; what does not come along is a note.
"""

from .formats import as_text, import_tags
from .profile_text import ImportedProfile
from .tags import Note

__all__ = ["ImportedProfile", "Note", "as_text", "import_tags"]

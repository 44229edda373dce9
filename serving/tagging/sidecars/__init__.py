"""XMP sidecars: write tags, place and position beside the photos, and never undo a user's edit.

Gives `write_sidecars` to the tagger.
"""

from serving.tagging.sidecars.files import write_sidecars

__all__ = ["write_sidecars"]

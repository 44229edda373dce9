"""XMP sidecars: write tags, place and position beside the photos, and never undo a user's edit.

`files` gives `write_sidecars` to the tagger.
"""

"""Names that systems give to files and folders of their own: none of them holds a user's photos."""

from __future__ import annotations

# Previews, settings, bins and what a repair found, of Windows, macOS, Linux and network storage.
_OF_SYSTEMS = frozenset(
    {
        "__macosx",
        "thumbs.db",
        "desktop.ini",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
    }
)


def is_of_the_system(name: str) -> bool:
    """Whether a file or folder is hidden, or one that a system lays down for itself."""
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS

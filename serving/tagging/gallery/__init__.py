"""A gallery of a tagged library: pages and thumbnails that need nothing but a browser.

Gives `write_gallery` to the tagger.
"""

from serving.tagging.gallery.pages import write_gallery

__all__ = ["write_gallery"]

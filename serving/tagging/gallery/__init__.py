"""A gallery of a tagged library: pages and thumbnails that need nothing but a browser."""

from serving.tagging.gallery.writing import GALLERY, write_gallery

__all__ = ["GALLERY", "write_gallery"]

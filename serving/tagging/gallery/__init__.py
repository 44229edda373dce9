"""A gallery of a tagged library: pages and thumbnails that need nothing but a browser.

`pages` gives `write_gallery` to the tagger.
"""

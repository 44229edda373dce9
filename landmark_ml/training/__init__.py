"""One training run, from photos to a registered model.

`run` is the whole story; the other files are its chapters: phases, loop, optimiser, caches.
"""

"""One training run, from photos to a registered model.

`run` tells the whole story from top to bottom; the other files are its chapters: the two phases,
the loop, the optimiser, caches, checkpoints and several processes.
"""

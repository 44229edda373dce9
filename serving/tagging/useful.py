"""Active learning: which answers people should look at, so that a training learns most of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array


def most_useful(answers: Sequence[Sequence[tuple[str, float]]], count: int) -> list[int]:
    """At most count of the answers, by number: first the one whose correction helps most.

    answers: of each photo the likeliest landmarks and their probabilities, best first; what is left
    of 1 counts as one more outcome, that it is none of them. Asked about are photos whose two
    likeliest outcomes are near each other (margin sampling: Scheffer et al., Active hidden Markov
    models for information extraction, 2001) and whose outcomes are unlike those of all photos
    chosen before (as in Sener and Savarese, Active learning for convolutional neural networks: a
    core-set approach, ICLR 2018, with the Hellinger distance of outcomes). So of a burst of photos
    one is asked about, and no landmark takes all the places.
    """
    numbers: dict[str, int] = {"": 0}
    rows, columns, chances = list[int](), list[int](), list[float]()
    margins = np.ones(len(answers))
    for row, answer in enumerate(answers):
        outcomes = {**dict(answer), "": max(0.0, 1 - sum(chance for _, chance in answer))}
        rows += [row] * len(outcomes)
        columns += [numbers.setdefault(name, len(numbers)) for name in outcomes]
        chances += outcomes.values()
        best, second = sorted([0.0, *outcomes.values()])[:-3:-1]
        margins[row] = best - second
    shape = len(answers), len(numbers)
    roots = csr_array((np.sqrt(chances), (rows, columns)), shape=shape)
    # How much a photo would teach, and how unlike all chosen before it is, at most 1.
    worth, unlike, chosen = 1 - margins, np.ones(len(answers)), list[int]()
    while len(chosen) < min(count, len(answers)):
        gain = worth * unlike
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        likeness = roots @ roots[[chosen[-1]]].toarray()[0]
        unlike = np.minimum(unlike, np.maximum(1 - likeness, 0))
    return chosen

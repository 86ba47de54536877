"""Prefer points whose structure earlier trials had: the program that trains them is compiled already.

A structure is what a program is compiled for, such as the widths of layers. Of points that are expected to improve
nearly as much, one of a structure that was trained before costs its training alone.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from nightune.tuning.search.new_points import Point

Structure = Callable[[Point], str]  # the name of a point's structure; points of one structure share their program
MARGIN = 0.3  # of the logarithm of expected improvement: at most a quarter of it is given up


class KnownStructures:
    """The structures of the points so far; chooses further points, and then knows theirs. Without `structure` none."""

    def __init__(self, structure: Structure | None, points: Iterable[Point]) -> None:
        self._structure = structure
        self._known = set() if structure is None else {structure(point) for point in points}

    def add(self, point: Point) -> None:
        """Add the structure of a point that was chosen."""
        if self._structure is not None:
            self._known.add(self._structure(point))

    def has(self, point: Point) -> bool:
        """Return whether the point's structure is known; True if structures are not told apart."""
        return self._structure is None or self._structure(point) in self._known

    def best(self, gains: np.ndarray, points: Sequence[Point]) -> int:
        """Return the place of the point with the largest gain among those of known structures, and add its structure.

        `gains`, (points,), are logarithms. It is that of the largest of all where the other is less by over `MARGIN`.
        """
        largest = int(np.argmax(gains))
        near = np.flatnonzero(gains >= gains[largest] - MARGIN)
        ordered = (int(place) for place in near[np.argsort(-gains[near], kind="stable")])
        chosen = next((place for place in ordered if self.has(points[place])), largest)
        self.add(points[chosen])
        return chosen

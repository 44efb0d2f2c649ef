"""Near texts among many: MinHash over pairs of words, bands on disk, each candidate compared.

A text is the set of its neighbouring words. Texts that agree in one of 32 bands of four minima
are candidates; those are compared word by word, so what is reported is near, and not only likely
to be. Texts with nine of ten words in common share a band with a probability over 0.999.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.data.audit.boilerplate import Hashes, flatten, keep

PERMUTATIONS, BANDS, SEED = 128, 32, 1
# In a bucket of many, each text is compared with the first one and its next neighbours.
NEIGHBOURS = 8
_MIX, _BEGIN, _END = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x51), np.uint64(0xA7)
Numbers = NDArray[np.int64]
Compare = Callable[[int, int], bool]


def sketch(flat: Hashes, sizes: Numbers) -> Hashes:
    """The bands of each text, one row each."""
    from rensa import RMinHash

    # Each text between two marks, so that its first and last word count as often as the others.
    begins = np.concatenate([[0], np.cumsum(sizes + 2)[:-1]]) if len(sizes) else sizes
    marked = np.empty(len(flat) + 2 * len(sizes), np.uint64)
    inner = np.ones(len(marked), bool)
    ends = begins + sizes + 1
    marked[begins], marked[ends] = _BEGIN, _END
    inner[begins] = inner[ends] = False
    marked[inner] = flat
    pairs = marked[:-1] * _MIX + marked[1:]
    pairs ^= pairs >> np.uint64(29)
    pairs = np.ascontiguousarray(np.delete(pairs, ends[:-1]))
    offsets = np.concatenate([[0], np.cumsum(sizes + 1)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(pairs, offsets, PERMUTATIONS, SEED)
    minima = np.array(matrix.to_rows(), np.uint64).reshape(len(sizes), BANDS, -1)
    bands = minima[..., 0]
    for place in range(1, minima.shape[-1]):
        bands = bands * _MIX + minima[..., place]
    return bands


class Index:
    """Bands of texts 0, 1, 2, ... on disk, a file each; then the pairs that are near."""

    def __init__(self, folder: Path, name: str) -> None:
        self._paths = [folder / f"{name}-{band}.u64" for band in range(BANDS)]
        self._files = [path.open("wb") for path in self._paths]
        self.empty: list[Numbers] = []
        self._count = 0

    def add(self, flat: Hashes, sizes: Numbers) -> None:
        """The next texts. A text without words is near to none."""
        bands = sketch(flat, sizes)
        for band, file in enumerate(self._files):
            file.write(np.ascontiguousarray(bands[:, band]).tobytes())
        self.empty.append(np.flatnonzero(sizes == 0) + self._count)
        self._count += len(sizes)

    def add_words(self, texts: Sequence[Sequence[str]], common: Hashes) -> None:
        flat, sizes = flatten(texts)
        self.add(*stripped(flat, sizes, common))

    def end(self) -> None:
        for file in self._files:
            file.close()

    def candidates(self, among: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
        """(first, second) of each band's candidates, first < second; `among` is sorted."""
        if self.empty:
            among = np.setdiff1d(among, np.concatenate(self.empty), assume_unique=True)
        for path in self._paths:
            keys = np.fromfile(path, np.uint64)[among]
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
            new = np.ones(len(keys), bool)
            new[1:] = keys[1:] != keys[:-1]
            place = np.arange(len(keys))
            first = np.maximum.accumulate(np.where(new, place, 0)) if len(keys) else place
            firsts, seconds = [], []
            for step in range(1, NEIGHBOURS + 1):
                inside = np.flatnonzero(place[step:] - first[step:] >= step)
                firsts.append(order[inside])
                seconds.append(order[inside + step])
            far = np.flatnonzero(place - first > NEIGHBOURS)
            firsts.append(order[first[far]])
            seconds.append(order[far])
            yield among[np.concatenate(firsts)], among[np.concatenate(seconds)]


def stripped(flat: Hashes, sizes: Numbers, common: Hashes) -> tuple[Hashes, Numbers]:
    """The words that are a text's own, and how many each has."""
    if not len(common):
        return flat, sizes
    own = keep(flat, sizes, common)
    row = np.repeat(np.arange(len(sizes)), sizes)
    return flat[own], np.bincount(row[own], minlength=len(sizes))


class Groups:
    """Texts that are near, directly or over others (union-find, smallest number as the root)."""

    def __init__(self, count: int) -> None:
        self.parent = np.arange(count)

    def find(self, number: int) -> int:
        parent = self.parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number

    def join(self, a: int, b: int) -> None:
        one, two = self.find(a), self.find(b)
        self.parent[max(one, two)] = min(one, two)

    def roots(self) -> Numbers:
        parent = self.parent
        while not np.array_equal(up := parent[parent], parent):
            parent = up
        self.parent = parent
        return parent


def edges(
    index: Index,
    among: Numbers,
    count: int,
    compare: Compare,
    side: NDArray[np.generic],
    band_done: Callable[[], None] = lambda: None,
) -> tuple[Groups, list[tuple[int, int]]]:
    """(groups, near pairs). Two of one side that are in a group already are not compared again."""
    groups = Groups(count)
    found: list[tuple[int, int]] = []
    tested = np.empty(0, np.uint64)
    for first, second in index.candidates(among):
        codes = np.unique(first.astype(np.uint64) * np.uint64(count) + second.astype(np.uint64))
        codes = np.setdiff1d(codes, tested, assume_unique=True)
        tested = np.union1d(tested, codes)
        roots = groups.roots()
        a, b = (codes // np.uint64(count)).astype(int), (codes % np.uint64(count)).astype(int)
        open_ = (roots[a] != roots[b]) | (side[a] != side[b])
        for one, two in zip(a[open_].tolist(), b[open_].tolist(), strict=True):
            same = groups.find(one) == groups.find(two)
            if (not same or side[one] != side[two]) and compare(one, two):
                groups.join(one, two)
                found.append((one, two))
        band_done()
    return groups, found

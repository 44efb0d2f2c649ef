"""Words that many prompts share word for word: an instruction before each question, say.

Left in, they make every two prompts near one another. A run of five words that stands in a
hundredth of the prompts is none of the question's own: language hardly ever repeats five words.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RUN, SHARE, LEAST = 5, 0.01, 20
Hashes = NDArray[np.uint64]
_MIX = np.uint64(0x9E3779B97F4A7C15)


def flatten(texts: Sequence[Sequence[str]]) -> tuple[Hashes, NDArray[np.int64]]:
    """(hash of every word of every text, how many words each text has)."""
    from rensa import RMinHash

    hashes = RMinHash.hash_token_sets(texts)
    sizes = np.fromiter((len(h) for h in hashes), np.int64, len(hashes))
    flat = np.empty(int(sizes.sum()), np.uint64)
    at = 0
    for found in hashes:
        flat[at : at + len(found)] = found
        at += len(found)
    return flat, sizes


def _runs(flat: Hashes, sizes: NDArray[np.int64]) -> tuple[Hashes, NDArray[np.int64]]:
    """(hash of each run of five words inside one text, where it begins)."""
    if len(flat) < RUN:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    row = np.repeat(np.arange(len(sizes)), sizes)
    last = len(flat) - RUN + 1
    begin = np.flatnonzero(row[:last] == row[RUN - 1 :])
    mixed = flat[begin]
    for step in range(1, RUN):
        mixed = mixed * _MIX + flat[begin + step]
    return mixed, begin


def learn(texts: Sequence[Sequence[str]]) -> Hashes:
    """The runs that are boilerplate, from a sample of prompts; sorted."""
    flat, sizes = flatten(texts)
    runs, begin = _runs(flat, sizes)
    row = np.repeat(np.arange(len(sizes)), sizes)[begin]
    # Once a text, however often it stands there.
    order = np.lexsort((row, runs))
    runs, row = runs[order], row[order]
    first = np.ones(len(runs), bool)
    first[1:] = (runs[1:] != runs[:-1]) | (row[1:] != row[:-1])
    found, count = np.unique(runs[first], return_counts=True)
    return found[count >= max(LEAST, SHARE * len(texts))]


def keep(flat: Hashes, sizes: NDArray[np.int64], common: Hashes) -> NDArray[np.bool_]:
    """Which words are a text's own; all of them where nothing else would be left."""
    own = np.ones(len(flat), bool)
    if not len(common) or not len(flat):
        return own
    runs, begin = _runs(flat, sizes)
    begin = begin[np.isin(runs, common)]
    for step in range(RUN):
        own[begin + step] = False
    row = np.repeat(np.arange(len(sizes)), sizes)
    left = np.bincount(row[own], minlength=len(sizes))
    own |= (left < 2)[row]
    return own


def strip(words: list[str], common: Hashes) -> list[str]:
    """One text without its boilerplate."""
    if not len(common) or len(words) < RUN:
        return words
    own = keep(*flatten([words]), common)
    return [word for word, mine in zip(words, own, strict=True) if mine]

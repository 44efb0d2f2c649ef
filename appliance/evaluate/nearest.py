"""The training rows nearest to a row: examples to show before it, or context to give with it."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.data.audit.text import asked, words
from appliance.data.rows import Row
from appliance.data.split import prompt_key, sample

INDEXED = 50_000  # training rows that are looked through, at most: a sample of more says the same


class Nearest:
    """BM25 over what rows ask (Robertson and Zaragoza 2009; bm25s scores as Lucene does)."""

    def __init__(self, rows: Sequence[Row], seed: int = 0) -> None:
        import bm25s

        self.rows = sample(rows, INDEXED, seed)
        self._keys = [prompt_key(row) for row in self.rows]
        self._index = bm25s.BM25()
        self._index.index([_words(row) for row in self.rows], show_progress=False)

    def find(self, row: Row, most: int) -> list[Row]:
        """Up to `most` rows, the nearest first; of equally near ones the earlier.

        Never a row of the same prompt: its answer would be read off, and a prompt that users
        repeat says nothing of the others. Of several rows with one prompt the first stands.
        """
        scores = self._index.get_scores(_words(row))
        seen = {prompt_key(row)}
        found: list[Row] = []
        for place in (-scores).argsort(kind="stable"):
            if len(found) == most:
                break
            if self._keys[place] not in seen:
                seen.add(self._keys[place])
                found.append(self.rows[place])
        return found


def _words(row: Row) -> list[str]:
    # A text without words is one empty word: bm25s knows no text without any.
    return words(asked(row)) or [""]

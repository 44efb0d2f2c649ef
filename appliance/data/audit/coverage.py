"""What the prompts are about: clusters named by their own words, and the balance of labels."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from appliance.data.audit.findings import Hits
from appliance.data.audit.index import Texts
from appliance.data.audit.secrets import mask
from appliance.data.audit.text import asked, clip, words

SAMPLE, WORDS, DIMENSIONS, MOST = 10_000, 4000, 32, 24
# A cluster is thin under a quarter of the mean, a label under a twentieth of the greatest.
THIN, RARE, FEW, COMMON = 0.25, 20, 5, 0.1


def clusters(texts: Texts, seed: int) -> tuple[list[dict[str, Any]], Hits]:
    """Clusters of a sample of the training prompts, the largest first (TF-IDF, SVD, k-means)."""
    hits = Hits("thin_coverage")
    rows = texts.table.of("train").tolist()
    if len(rows) > SAMPLE:
        rows = sorted(random.Random(seed).sample(rows, SAMPLE))
    if len(rows) < 40:
        return [], hits
    prompts = [texts.prompt(row) for row in rows]
    matrix, vocabulary = _tf_idf(prompts)
    if matrix is None:
        return [], hits
    count = min(MOST, max(2, round((len(rows) / 8) ** 0.5)))
    belongs = _belongs(matrix, count, seed)
    found = []
    plain = np.asarray((matrix > 0).mean(axis=0)).ravel() < COMMON
    everywhere = np.asarray(matrix.mean(axis=0)).ravel()
    for cluster in range(count):
        members = np.flatnonzero(belongs == cluster)
        if len(members):
            here = np.asarray(matrix[members].mean(axis=0)).ravel()
            # Words that are common here and rare elsewhere; the commonest say nothing.
            telling = here * np.log((here + 1e-9) / (everywhere + 1e-9)) * plain
            best = np.argsort(telling)[::-1][:4]
            named = [vocabulary[word] for word in best if telling[word] > 0]
            found.append((len(members), named, [rows[m] for m in members]))
    found.sort(key=lambda item: -item[0])
    thin_under = THIN * len(rows) / max(len(found), 1)
    made = []
    thins = []
    for size, named, inside in found:
        thin = size < thin_under
        examples = [mask(clip(asked(texts.table.row(row)), 120)) for row in inside[:3]]
        made.append({"words": named, "rows": size, "share": round(size / len(rows), 4),
                     "thin": thin, "examples": examples})  # fmt: skip
        if thin:
            thins.append(" ".join(named))
            for row in inside:
                hits.add(row, note=thins[-1])
    hits.rows = type(hits.rows)("q", sorted(hits.rows))
    if thins:
        hits.facts = {"said": f"thin: {'; '.join(thins)}", "sample": len(rows)}
    return made, hits


def _tf_idf(prompts: list[list[str]]) -> tuple[Any, list[str]]:
    from scipy import sparse

    seen = Counter(word for prompt in prompts for word in set(prompt))
    # Words of nearly all prompts, and of one alone, tell no subject from another.
    wanted = [w for w, n in seen.most_common() if 1 < n < 0.5 * len(prompts)][:WORDS]
    if len(wanted) < 4:
        return None, []
    place = {word: number for number, word in enumerate(wanted)}
    pairs = [(n, place[w]) for n, prompt in enumerate(prompts) for w in set(prompt) if w in place]
    row, column = np.array(pairs).T
    weight = np.log(len(prompts) / np.array([seen[word] for word in wanted]))
    matrix = sparse.csr_array((weight[column], (row, column)), (len(prompts), len(wanted)))
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = sparse.diags_array(1 / np.maximum(length, 1e-9))
    return (scale @ matrix).tocsr(), wanted


def _belongs(matrix: Any, count: int, seed: int) -> Any:
    import warnings

    from scipy.cluster.vq import kmeans2
    from scipy.sparse.linalg import svds

    rank = min(DIMENSIONS, min(matrix.shape) - 1)
    start = np.random.default_rng(seed).standard_normal(min(matrix.shape))
    left, values, _ = svds(matrix, k=rank, v0=start)
    points = left * values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an empty cluster is no fault: it is left out
        _, belongs = kmeans2(points, count, iter=20, minit="++", rng=seed)
    return belongs


def labels(seen: Mapping[str, int] | None, rows: int) -> dict[str, Any] | None:
    """The balance of the answers where they are labels: few, short, and most of them repeated."""
    if not seen or rows < 8 or len(seen) > max(2, rows / 4):
        return None
    order = sorted(seen.items(), key=lambda item: (-item[1], item[0]))
    # A greatest label that stands twice is chance, and not a label.
    if order[0][1] < 3 or sum(n for _, n in order if n > 1) < 0.8 * rows:
        return None
    return {
        "count": len(order),
        "most": order[0][1],
        "least": order[-1][1],
        "balance": [{"label": mask(clip(label, 60)), "rows": n} for label, n in order[:100]],
    }


def imbalance(found: dict[str, Any], seen: Mapping[str, int]) -> dict[str, int]:
    """Labels with less than a twentieth of the greatest one's rows, or under five."""
    least = max(FEW, found["most"] / RARE)
    return {label: n for label, n in seen.items() if n < least and n < found["most"]}


def variants(seen: Mapping[str, int]) -> dict[str, str]:
    """Labels that are another one in other letters or signs: {rare: common}."""
    from rapidfuzz import fuzz

    order = sorted(seen, key=lambda label: (-seen[label], label))
    by_words: dict[str, str] = {}
    found: dict[str, str] = {}
    for label in order:
        key = " ".join(words(label.replace("_", " ")))
        if key and key in by_words:
            found[label] = by_words[key]
        by_words.setdefault(key, label)
    for label in order:
        if label in found or seen[label] > 2 or len(label) < 5:
            continue
        # One slip of the keys, against a label that is common; numbers are no slips.
        like = next((o for o in order if seen[o] >= 10 * seen[label]
                     and not any(c.isdigit() for c in label + o)
                     and fuzz.ratio(label, o) >= 90), None)  # fmt: skip
        if like:
            found[label] = like
    return found

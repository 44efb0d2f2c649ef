"""A run less the first one, measure by measure, and whether it is more than noise.

The same items are compared item by item (paired). Where the items are others, the runs are two
independent samples of the same kind, or not comparable at all: it is said which.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from appliance.compare.column import Column
from appliance.compare.measures import GAIN, Better, Measure, Unit
from appliance.statistics import difference, mcnemar, mean, nested, share, share_difference

SURE = 0.05  # the p-value under which a difference of shares is more than noise
FEW = 10  # under so many items a bootstrap's interval is too narrow to call anything by it
COMMON = 0.5  # share of the smaller set that both must have, or the items are others
Found = Literal["better", "worse", "noise", "not compared"]


@dataclass(frozen=True)
class Difference:
    """`value`: this run less the first, with its 95 % interval; `n`: items, of unpaired ones both.

    `p`: McNemar's, of shares alone. `text`: on what, or why not. `found`: for this run.
    """

    measure: str
    unit: Unit
    better: Better
    paired: bool
    found: Found
    value: float | None
    interval: list[float] | None
    n: int
    p: float | None
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def differences(mine: Column, first: Column) -> list[Difference]:
    """Of every measure that one of the two has. A gain is the task's own where the base is one."""
    names = dict.fromkeys([*first.measures, *mine.measures])
    same_base = mine.base == first.base
    return [_difference(name, mine, first) for name in names if not (name == GAIN and same_base)]


def _difference(name: str, mine: Column, first: Column) -> Difference:
    a, b = mine.measures.get(name), first.measures.get(name)
    if a is None or b is None:
        here = mine.name if a is None else first.name
        return _not(a or b, f"{here} has none")  # type: ignore[arg-type]
    if a.basis != b.basis:
        return _not(a, f"{' and '.join(a.basis)} here, {' and '.join(b.basis)} in {first.name}")
    common = [key for key in a.items if key in b.items]
    smaller = min(len(a.items), len(b.items))
    if len(common) >= COMMON * smaller:
        return _paired(a, b, common)
    if name.startswith(("task", GAIN)) and not mine.data & first.data:
        return _not(a, "other held-out rows of other data")
    return _unpaired(a, b, len(common))


def _not(measure: Measure, why: str) -> Difference:
    return Difference(measure.name, measure.unit, measure.better, False, "not compared",
                      None, None, 0, None, why)  # fmt: skip


def _paired(a: Measure, b: Measure, common: list[Any]) -> Difference:
    here, there = [a.items[key] for key in common], [b.items[key] for key in common]
    apart = [x - y for x, y in zip(here, there, strict=True)]
    if a.weights:
        found = nested([apart], [[a.weights[key] for key in common]])
    else:
        found = mean(apart)
    if a.unit == "share":
        found = _reaching(found, apart)
    p = mcnemar(there, here) if a.unit == "share" else None
    text = f"the same {len(common)} items"
    if (most := max(len(a.items), len(b.items))) > len(common):
        text = f"the {len(common)} items that both have (of {most})"
    return _judged(a, True, found, p, len(common), text)


def _reaching(found: dict[str, Any], apart: list[float]) -> dict[str, Any]:
    """Where every pair is alike a bootstrap sees no spread: how far another could be, by Wilson."""
    if set(apart) not in ({0.0}, {1.0}, {-1.0}):
        return found
    low, high = share([value != 0 for value in apart])["interval"]
    value = apart[0]
    ends = [-high, high] if value == 0 else sorted([value, value * low])
    return found | {"interval": ends}


def _unpaired(a: Measure, b: Measure, common: int) -> Difference:
    here, there = list(a.items.values()), list(b.items.values())
    if a.unit == "share" and {*here, *there} <= {0.0, 1.0}:
        found = share_difference([v == 1 for v in here], [v == 1 for v in there])
    else:
        found = difference(here, there)
    shared = f"only {common} in common" if common else "none in common"
    text = f"other items ({len(here)} and {len(there)}, {shared}), compared as two samples"
    return _judged(a, False, found, None, min(len(here), len(there)), text)


def _judged(
    measure: Measure, paired: bool, found: dict[str, Any], p: float | None, least: int, text: str
) -> Difference:
    low, high = found["interval"]
    sure = (low > 0 or high < 0) and least >= FEW and (p is None or p < SURE)
    more = (found["value"] > 0) == (measure.better == "more")
    said: Found = "noise" if not sure else "better" if more else "worse"
    return Difference(measure.name, measure.unit, measure.better, paired, said, found["value"],
                      list(found["interval"]), found["n"], p, text)  # fmt: skip

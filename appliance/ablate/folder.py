"""The plan of an ablation, and its folder: the only place that knows the file names in it.

ablate.json       the plan: recipe, arms, seeds
runs/<arm>-<seed> a run directory each
results.json      what was measured, ablate.html the same as a page
recommended.yaml  the recipe to train by
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.ablate.arms import Arm
from appliance.disk import read_json, write_json
from appliance.errors import RunError
from appliance.recipe import Recipe, build, load
from appliance.run import RunDir, differences, hold

VERSION = 1  # of the plan's form


@dataclass(frozen=True)
class Plan:
    """Which recipe through which arms with which seeds. `overrides` are the user's."""

    name: str
    overrides: tuple[str, ...]
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, name: str, overrides: Sequence[str], arms: Sequence[Arm], seeds: int) -> Plan:
        """`seeds` of them, from the recipe's own upwards. Raises RecipeError by each arm's own."""
        plan = cls(name, tuple(overrides), tuple(arms), ())
        first = plan.recipe().train.seed
        for arm in arms:
            plan.recipe(arm)
        return cls(name, plan.overrides, plan.arms, tuple(range(first, first + seeds)))

    def recipe(self, arm: Arm | None = None, seed: int | None = None) -> Recipe:
        """The recipe as it was given; that of an arm; that of one run."""
        overrides = (*self.overrides, *([] if seed is None else [f"train.seed={seed}"]))
        return arm.recipe(self.name, overrides) if arm else load(self.name, overrides)

    def changes(self, arm: Arm) -> list[str]:
        """`key: recipe's -> arm's` for every key that the arm changes."""
        return differences(self.recipe(), self.recipe(arm))

    def as_json(self) -> dict[str, Any]:
        given = self.recipe()
        return {
            "version": VERSION,
            "recipe": self.name,
            "recipe_sha256": hashlib.sha256(given.dump().encode()).hexdigest(),
            "arms": {arm.name: self.changes(arm) for arm in self.arms},
            "seeds": list(self.seeds),
            "resolved": given.model_dump(mode="json"),
        }


class Folder:
    """An ablation on disk. Nothing is created before `create`."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    plan = property(lambda self: self.root / "ablate.json")
    log = property(lambda self: self.root / "logs" / "libraries.log")
    results = property(lambda self: self.root / "results.json")
    page = property(lambda self: self.root / "ablate.html")
    recommended = property(lambda self: self.root / "recommended.yaml")

    def run(self, arm: str, seed: int) -> RunDir:
        return RunDir(self.root / "runs" / f"{arm}-{seed}")

    def lock(self) -> AbstractContextManager[None]:
        """Hold it. Raises RunError at once when another process has it."""
        return hold(self.root, "--out")

    def create(self, plan: Plan, force: bool = False) -> None:
        """Write the plan, or go on by it. Raises RunError: another plan, or no ablation's folder.

        With `force` the new plan is taken. What a run of another recipe made is set aside.
        """
        if self.plan.is_file():
            changed = changes(read_json(self.plan), plan.as_json())
            if changed and not force:
                raise RunError(
                    f"{self.root} holds another plan ({'; '.join(changed[:4])}).",
                    "Name another --out, or --force to go on by the new plan.",
                )
            for arm in plan.arms if changed else ():
                for seed in plan.seeds:
                    self._set_aside(self.run(arm.name, seed), plan.recipe(arm, seed))
        elif self.root.is_dir() and any(
            entry.name not in ("lock", "logs") for entry in self.root.iterdir()
        ):
            raise RunError(
                f"{self.root} holds other files and no ablation.",
                "Name a new or empty --out folder.",
            )
        write_json(self.plan, plan.as_json())

    def _set_aside(self, run: RunDir, recipe: Recipe) -> None:
        if run.recipe_file.is_file() and differences(run.recipe(), recipe):
            number = 1
            while (target := run.root.with_name(f"{run.root.name}.old{number}")).exists():
                number += 1
            run.root.rename(target)


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """What differs between two plans: recipe keys, arms, seeds."""
    found = differences(build(old["resolved"], "ablate.json"), build(new["resolved"], "recipe"))
    before, after = old["arms"], new["arms"]
    found += [f"arm {name} is new" for name in after if name not in before]
    found += [f"arm {name} is gone" for name in before if name not in after]
    found += [
        f"arm {name} is another ({', '.join(set(before[name]) ^ set(after[name]))})"
        for name in before
        if name in after and before[name] != after[name]
    ]
    if old["seeds"] != new["seeds"]:
        found.append(f"seeds: {old['seeds']} -> {new['seeds']}")
    return found

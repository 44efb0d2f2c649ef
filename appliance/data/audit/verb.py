"""`appliance audit`: rows of any data, without a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.data.audit.fix import check, fix
from appliance.data.audit.leakage import read_probes
from appliance.data.audit.lengths import Template
from appliance.data.audit.run import Audit
from appliance.data.audit.source import parts
from appliance.data.audit.stage import policy
from appliance.recipe import Recipe


def audit(
    recipe: Recipe, pairs: bool, template: Template | None, out: Path | None
) -> dict[str, Any]:
    """The audit of the recipe's data, and with `out` a cleaned copy. Raises DataError, BadInput."""
    made, form, located = parts(recipe.data, pairs)
    if out is not None:
        check(out, located)
    probes = read_probes(recipe.evaluate.off_task)
    with Audit(policy(recipe), template, probes) as work:
        found = work.run(made)
        if out is not None:
            found["fixed"] = fix(work, located, form, recipe.data.system, out)
    return found

"""The sections of a recipe: every key there is, its default, and where the default comes from.

`appliance.recipe` puts them together; `docs/recipes.md` is generated from them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

"""docs/recipes.md, from the schema: `python -m appliance.recipe_docs > docs/recipes.md`."""

from __future__ import annotations

import sys
import types
from typing import Any, Literal, Union, get_args, get_origin

from appliance.recipe import keys

HEAD = """# Recipe keys

Generated from `appliance/sections/` by `python -m appliance.recipe_docs > docs/recipes.md`; a
test checks that it is up to date. A recipe file holds only what differs from these defaults, and
any key can be set on the command line: `--set train.epochs=1`.

The shipped recipes are in `recipes/`: `sft` (what `train` means alone), `sft-domain-shift`, `dpo`.

## About the alarms

Each alarm rises once and only warns, unless `alarm.lower_rate` or `alarm.stop` names it
(`--set alarm.stop=[drift,held_out_rise]`); [forgetting.md](forgetting.md) says what each means.
`alarm.loss_under` is a rule of thumb, not a measurement: a training loss under 0.2 often means
that rows are being memorized. A task whose answers are mostly fixed text (the embedded demo is
one) gets there by learning the format. So the held-out loss is measured before that alarm rises: it
is held back, with a note, while the held-out loss is as low (at most 1.5 times as high). With
`train.patience` training ends by itself where the held-out loss no longer falls, and the best
adapter measured is the one that is kept.

"""


def page() -> str:
    """The whole page as Markdown."""
    lines = [HEAD.rstrip(), ""]
    section = None
    for name, field in keys():
        here = name.rpartition(".")[0]
        if here != section:
            section = here
            lines += ["", f"## {here or 'top level'}", ""]
            lines += ["| key | values | default | what it does |", "|---|---|---|---|"]
        values = _values(field.annotation).replace("|", "\\|")
        text = field.description.replace("|", "\\|")
        lines.append(f"| `{name}` | {values} | `{_default(field.default)}` | {text} |")
    return "\n".join(lines) + "\n"


def _values(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{v}`" for v in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_values(k) for k in get_args(kind))
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        few = get_origin(inner) is Literal and len(get_args(inner)) < 10
        return f"list of {_values(inner)}" if few else "list of text"
    names = {str: "text", int: "whole number", float: "number", bool: "true, false"}
    return names.get(kind, "null" if kind is type(None) else str(kind))


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value)


if __name__ == "__main__":
    sys.stdout.write(page())

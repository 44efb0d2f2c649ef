"""docs/recipes.md, from the schema: `python -m appliance.recipe_docs > docs/recipes.md`."""

from __future__ import annotations

import sys
import types
from typing import Any, Literal, Union, get_args, get_origin

from appliance.recipe import keys

HEAD = """# Recipe keys

Generated from `appliance/sections.py` by `python -m appliance.recipe_docs > docs/recipes.md`; a
test checks that it is up to date. A recipe file holds only what differs from these defaults, and
any key can be set on the command line: `--set train.epochs=1`.

The shipped recipes are in `recipes/`: `sft` (what `train` means alone), `sft-domain-shift`, `dpo`.

## About the alarm

`alarm.loss_under` is a rule of thumb, not a measurement: a training loss under 0.2 often means
that rows are being memorized. A task whose answers are mostly fixed text (the embedded demo is
one) gets there by learning the format. The held-out loss decides: while it falls, the model still
learns; when it rises and the training loss falls, it memorizes. The alarm therefore only warns by
default and names the held-out loss; `alarm.action: stop` ends training there and keeps the adapter.

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
        return "list of text"
    names = {str: "text", int: "whole number", float: "number", bool: "true, false"}
    return names.get(kind, "null" if kind is type(None) else str(kind))


def _default(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return {None: "null", True: "true", False: "false"}.get(value, str(value))


if __name__ == "__main__":
    sys.stdout.write(page())

"""The comparison as tables: for the terminal, and the cells of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appliance.compare.figures import NONE, plain, signed
from appliance.console import span
from appliance.tables import Table


def text(results: Mapping[str, Any], width: int) -> str:
    """Tables, sentences and notes. A table wider than `width` characters goes on below itself."""
    parts = []
    for table in tables(results):
        blocks = [block.markdown() for block in _within(table, width)]
        parts.append("\n\n".join([table.title, *blocks]))
    said = [*results["sentences"].values(), *(f"- {note}" for note in results["notes"])]
    return "\n\n".join([*parts, "\n".join(said)])


def tables(results: Mapping[str, Any]) -> list[Table]:
    """What each run came to; each less the first; the recipe keys that differ."""
    runs: Mapping[str, Any] = results["runs"]
    names = tuple(runs)
    found = [Table("Runs (95 % intervals; answers that could not be scored are not right)",
                   ("", "base", *names, "n"), (*_measures(runs), *_prices(runs)))]  # fmt: skip
    if results["less_first"]:
        found.append(_less(results))
    if results["recipes"]:
        rows = [(key, *map(_value, each)) for key, each in results["recipes"].items()]
        found.append(Table("Recipe keys that differ", ("key", *names), tuple(rows)))
    return found


def _measures(runs: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name in dict.fromkeys(name for run in runs.values() for name in run["measures"]):
        each = [run["measures"].get(name) for run in runs.values()]
        there = [m for m in each if m]
        rows.append(
            (
                name,
                _same([plain(m["unit"], m["base"]) for m in there]),
                *(plain(m["unit"], m["value"], m["interval"]) if m else NONE for m in each),
                _same([str(m["n"]) for m in there]),
            )
        )
    return rows


def _prices(runs: Mapping[str, Any]) -> list[tuple[str, ...]]:
    def row(name: str, of: Callable[[Mapping[str, Any]], str]) -> tuple[str, ...]:
        return (name, "", *(of(run) for run in runs.values()), "")

    def seconds(which: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda run: NONE if (s := run["seconds"][which]) is None else span(s)

    def number(key: str) -> Callable[[Mapping[str, Any]], str]:
        return lambda run: NONE if run[key] is None else f"{run[key]:g}"

    def money(run: Mapping[str, Any]) -> str:
        found = run["money"]
        return f"{found['value']:.2f} {found['currency']}" if found else NONE

    return [
        row("stands", standing),
        row("may it be shipped", verdict),
        row("rehearse + train", seconds("rehearse_and_train")),
        row("whole run", seconds("whole")),
        *([row("price of the whole run", money)] if any(r["money"] for r in runs.values()) else []),
        row("steps", number("steps")),
        row("peak memory, GiB", number("peak_memory_gib")),
        row("alarms", lambda run: str(len(run["alarms"]))),
    ]


def standing(run: Mapping[str, Any]) -> str:
    """`finished`, `running: train`, `not evaluated, killed in train`."""
    kind, stage = run["state"]["kind"], run["state"]["stage"]
    said = {
        "new": "not begun",
        "running": f"running: {stage}",
        "finished": "finished",
        "refused": "finished, export refused",
        "ended": f"ended after {stage}",
        "silent": f"killed in {stage}",
    }.get(kind, f"{kind} in {stage}" if stage else kind)
    return f"{run['unmeasured']}, {said}" if run["unmeasured"] else said


def verdict(run: Mapping[str, Any]) -> str:
    """`no: format, safety; yes at 0.5`."""
    if run["verdict"] is None:
        return NONE
    said = str(run["verdict"])
    if run["broken"]:
        said += f": {', '.join(run['broken'])}"
    if run["verdict"] == "no" and run["strength"] is not None:
        said += f"; yes at {run['strength']:g}"
    return said


def _less(results: Mapping[str, Any]) -> Table:
    less: Mapping[str, Any] = results["less_first"]
    by_name = {run: {d["measure"]: d for d in apart} for run, apart in less.items()}
    rows = []
    for name in dict.fromkeys(name for apart in by_name.values() for name in apart):
        each = [apart.get(name) for apart in by_name.values()]
        rows.append((name, *map(_cell, each), _same([str(d["n"]) for d in each if d and d["n"]])))
    return Table(f"Less {results['first']} (the same items, but where it is said)",
                 ("", *less, "n"), tuple(rows))  # fmt: skip


def _cell(apart: Mapping[str, Any] | None) -> str:
    if apart is None or apart["value"] is None:
        return "not compared" if apart else NONE
    two = "" if apart["paired"] else ", two samples"
    return f"{signed(apart['unit'], apart['value'], apart['interval'])} {apart['found']}{two}"


def _same(texts: Sequence[str]) -> str:
    """Once where they are alike."""
    return " / ".join(dict.fromkeys(texts))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unset" if value is None else str(value)


def _within(table: Table, width: int) -> list[Table]:
    """The table in blocks of as many columns as fit, each with the first one."""
    lines = [table.head, *table.rows]
    widths = [max(len(line[i]) for line in lines) + 3 for i in range(len(table.head))]
    blocks: list[list[int]] = [[]]
    for place in range(1, len(widths)):
        taken = 1 + widths[0] + sum(widths[i] for i in blocks[-1])
        if blocks[-1] and taken + widths[place] > width:
            blocks.append([])
        blocks[-1].append(place)
    return [Table(table.title, *_columns(table, [0, *places])) for places in blocks]


def _columns(
    table: Table, places: Sequence[int]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    def some(line: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(line[i] for i in places)

    return some(table.head), tuple(map(some, table.rows))

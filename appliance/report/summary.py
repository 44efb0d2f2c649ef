"""What a run came to, read from its files alone. Computes nothing."""

from __future__ import annotations

from typing import Any

from appliance.disk import read_json, read_log
from appliance.run import RunDir


def summary(run: RunDir) -> dict[str, Any]:
    """The facts at the end of `train`; a part that is not there yet is None."""

    def there(path: Any) -> Any:
        return read_json(path) if path.is_file() else None

    events = read_log(run.events)
    # A training that was begun again counts from its last beginning.
    begun = max((i for i, e in enumerate(events) if e["kind"] == "train"), default=0)
    before, after = there(run.scores_before), there(run.scores_after)
    for scores in (before, after):
        if scores:
            for part in (scores["task"], scores["habit_leak"], scores["drift"],
                         scores["memorization"]["loss_gap"], scores["real_world"] or {},
                         *scores["axes"].values()):  # fmt: skip
                part.pop("items", None)
    return {
        "run": str(run.root),
        "before": before,
        "after": after,
        "training": there(run.train_facts),
        "verdict": there(run.verdict),
        "dial": there(run.dial),
        "alarms": [e["text"] for e in events[begun:] if e["kind"] == "alarm"],
        "notes": [e["text"] for e in events[begun:] if e["kind"] == "note"],
        "adapter": str(run.adapter) if run.adapter.is_dir() else None,
        "merged": str(run.merged) if run.merged.is_dir() else None,
        "report": str(run.report) if run.report.is_file() else None,
    }


def lines(facts: dict[str, Any]) -> list[str]:
    """The summary for a terminal: what was won, what was lost, where it is."""
    before, after, training = facts["before"], facts["after"], facts["training"]
    out = [""]
    if before and after:
        name = after["task"]["metric"].replace("_", " ")
        if after["task"]["asked"]:
            out.append(f"  task, {name:18} {figure(before['task'])} -> {figure(after['task'])}")
        if after["habit_leak"]["n"]:
            out.append(
                f"  habit leak off task      {figure(before['habit_leak'])} -> "
                f"{figure(after['habit_leak'])}"
            )
        for axis, found in after["axes"].items():
            if axis in before["axes"]:
                then = figure(before["axes"][axis])
                out.append(f"  {axis:24} {then} -> {figure(found)}")
        drift = after["drift"]
        if drift["value"] is not None:
            out.append(
                f"  drift from the base      {drift['value']:.3f} nats per token; "
                f"loss on its answers {before['drift']['loss']:.2f} -> {drift['loss']:.2f}"
            )
        real = after["real_world"]
        if real and real.get("comparison"):
            out.append(f"  real rows                {real['comparison']['text']}")
        advice = after["alternatives"].get("recommendation")
        out += [f"  without training         {advice['text']}"] if advice else []
    if training:
        out.append(
            f"  training                 {training['steps']} steps, {training['seconds']:.0f} s, "
            f"{training['tokens_per_second']:.0f} tokens/s, peak {training['peak_memory_gib']} GiB"
        )
    if facts["verdict"]:
        ship, dial = facts["verdict"]["ship"], facts["dial"] or {"chosen": None}
        how = ""
        if ship == "no" and dial["chosen"] is not None:
            how = f" as trained; yes at strength {dial['chosen']:g}"
        out.append(f"  verdict                  may it be shipped: {ship}{how}")
        said = {"no": "-", "unclear": "?", "invalid": "?"}
        reasons = [r for r in facts["verdict"]["reasons"] if r["passed"] in said]
        out += [f"    {said[r['passed']]} {r['text']}" for r in reasons]
    out += [f"  alarm                    {text}" for text in facts["alarms"]]
    out += [f"  note                     {text}" for text in facts["notes"]]
    out += [f"  {k:24} {facts[k]}" for k in ("adapter", "merged", "report") if facts[k]]
    if facts["adapter"]:
        out.append(f"  ask it                   appliance chat {facts['run']}")
    return out


def score_lines(scores: dict[str, Any]) -> list[str]:
    """One measurement for a terminal."""
    task, leak, drift = scores["task"], scores["habit_leak"], scores["drift"]
    out = [""]
    if task["asked"]:
        out.append(f"  task, {task['metric'].replace('_', ' ')}: {figure(task)}")
        out.append(f"  cut {task['cut']}, errors {task['errors']} of {task['asked']} asked")
    out.append(f"  habit leak off task: {figure(leak)} (style: {leak['style']})")
    for axis, found in scores["axes"].items():
        apart = ", ".join(f"{n} {kind}" for kind, n in found["apart"].items())
        out.append(f"  {axis}: {figure(found)}" + (f"; set apart: {apart}" if apart else ""))
    if drift["loss"] is not None:
        out.append(f"  loss on the base's own answers: {drift['loss']:.3f} nats per token")
    return out


def figure(found: dict[str, Any]) -> str:
    """`62 % [54-70] n=160`."""
    if found["value"] is None:
        return "not scored"
    low, high = found["interval"]
    return f"{found['value']:.0%} [{low:.0%}-{high:.0%}] n={found['n']}"

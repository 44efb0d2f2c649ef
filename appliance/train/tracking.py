"""Weights & Biases: on if a key is there or the recipe says so, never a prompt."""

from __future__ import annotations

import netrc
import os
from pathlib import Path

from appliance.console import console
from appliance.recipe import Recipe
from appliance.run import RunDir


def report_to(recipe: Recipe, run: RunDir) -> list[str]:
    """What TRL's trainer reports to; sets the environment that W&B reads."""
    mode = recipe.wandb.mode
    wanted = os.environ.get("WANDB_MODE", "")
    if mode == "auto":
        mode = "offline" if wanted == "offline" else "online" if has_key() else "off"
    if wanted == "disabled":
        mode = "off"
    if mode == "online" and not has_key():
        console.say(
            "  W&B: no key here, so the run is kept offline (set WANDB_API_KEY to send it)."
        )
        mode = "offline"
    if mode == "off":
        return []
    os.environ["WANDB_MODE"] = mode
    os.environ["WANDB_DIR"] = str(run.root.resolve())
    os.environ["WANDB_SILENT"] = "true"
    os.environ.setdefault("WANDB_PROJECT", recipe.wandb.project)
    # Neither weights nor gradients are sent: only the numbers that are in metrics.jsonl too.
    os.environ["WANDB_WATCH"] = "false"
    os.environ["WANDB_LOG_MODEL"] = "false"
    where = f"{run.root}/wandb (`wandb sync` sends it)" if mode == "offline" else "your account"
    console.say(f"  W&B: metrics go to {where}.")
    return ["wandb"]


def has_key() -> bool:
    """A key in the environment or in ~/.netrc, where `wandb login` puts it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        hosts = netrc.netrc(Path(os.environ.get("NETRC") or Path.home() / ".netrc")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return any("wandb" in host for host in hosts)

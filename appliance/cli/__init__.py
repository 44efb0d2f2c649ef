"""The doors. Each verb imports what it needs inside its body, so that --help is there at once."""

from appliance.cli import ablate, advise, checks, look, plan, recipes, runs
from appliance.cli.group import main

__all__ = ["ablate", "advise", "checks", "look", "main", "plan", "recipes", "runs"]

"""What the base says to the suites, kept between runs: it is the same for every task.

The key holds everything that decides an answer: weights, bits, the suites' items, how long an
answer may be, and what computes it (versions, device, threads: another order of sums rounds
otherwise).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from appliance.console import console
from appliance.disk import read_json, write_json
from appliance.errors import NoSpace, RunError
from appliance.evaluate.axes import Said, said_to
from appliance.evaluate.suite import Suite
from appliance.home import home
from appliance.model import backend
from appliance.model.load import Loaded
from appliance.sections.source import ModelSection

VERSION = 2  # of how items are asked


def said_by_base(
    loaded: Loaded, section: ModelSection, suites: Sequence[Suite]
) -> tuple[dict[str, list[Said]], bool]:
    """(what the base says by axis, was it kept from before?). `loaded` has no adapter on."""
    path = home() / "baseline" / f"{_key(loaded, section, suites)}.json"
    if path.is_file():
        try:
            kept: dict[str, list[Said]] = read_json(path)
            return kept, True
        except RunError:
            console.say("  what was kept of the base is damaged: it is asked again")
    said = said_to(loaded, suites)
    try:
        write_json(path, said)
    except (NoSpace, RunError):
        console.say("  the cache cannot be written, so the base is asked anew next time")
    return said, False


def _key(loaded: Loaded, section: ModelSection, suites: Sequence[Suite]) -> str:
    asked = [
        (suite.axis, suite.room, [(i.id, i.prompt, i.choices) for i in suite.items])
        for suite in suites
    ]
    facts = {
        "version": VERSION,
        "model": loaded.ref.digest(),
        "bits": section.bits,
        "max_length": section.max_length,
        "suites": asked,
        "versions": backend.versions(),
        "device": backend.machine(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]

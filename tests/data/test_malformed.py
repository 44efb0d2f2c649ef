"""500 malformed recipes, 200 malformed run directories: one sentence, no traceback, no change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.cli import main
from appliance.disk import write_json
from appliance.pipeline import STAGES
from appliance.recipe import keys, load
from appliance.run import RunDir

pytestmark = pytest.mark.filterwarnings("ignore")
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12),
    st.sampled_from(["", "-1", "1e999", "nan", "../../etc/passwd", "!!python/object:os.system x",
                     "&a [*a]", "0x", "off", "2026-11-26", "\x00", "💥"]),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=4), st.integers(),
                                                         max_size=2),
)  # fmt: skip
KEYS = [name for name, _ in keys()]


@st.composite
def recipe_bytes(draw) -> bytes:
    """A recipe with odd values under real keys, or with its text cut, mixed and spliced."""
    tree: dict = {}
    for name in draw(st.lists(st.sampled_from(KEYS), max_size=4)):
        *sections, last = name.split(".")
        below = tree
        for section in sections:
            below = below.setdefault(section, {})
            if not isinstance(below, dict):
                break
        else:
            below[last] = draw(ODD)
    if draw(st.booleans()):
        tree[draw(st.text(min_size=1, max_size=8))] = draw(ODD)
    data = yaml.safe_dump(tree, allow_unicode=True).encode()
    kind = draw(st.sampled_from(["whole", "cut", "spliced", "noise"]))
    if kind == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if kind == "spliced":
        place = draw(st.integers(0, len(data)))
        return data[:place] + draw(st.binary(max_size=6)) + data[place:]
    return draw(st.binary(max_size=60)) if kind == "noise" else data


def call(*arguments: str):
    """The verb's outcome; an exception that is no exit would be a traceback to a user."""
    done = CliRunner(env={"APPLIANCE_VERBOSE": "1"}).invoke(main, list(arguments))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "fault in the appliance" not in done.output, done.output
    assert "Traceback" not in done.output
    if done.exit_code:
        assert "error: " in done.output or arguments[0] == "doctor"
    return done


@given(recipe_bytes())
@settings(
    max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_a_malformed_recipe_is_one_sentence(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "odd.yaml"
    path.write_bytes(data)
    done = call("recipes", "show", str(path))
    assert done.exit_code in (0, 2), done.output
    assert path.read_bytes() == data


DAMAGES = {
    "gone": lambda path, more: path.unlink(),
    "empty": lambda path, more: path.write_bytes(b""),
    "cut": lambda path, more: path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2]),
    "noise": lambda path, more: path.write_bytes(more),
    "other": lambda path, more: path.write_text(json.dumps(more.decode("latin1"))),
    "list": lambda path, more: path.write_text("[1, 2]\n"),
    "object": lambda path, more: path.write_text('{"kind": 3}\n'),
}


def whole(root: Path) -> RunDir:
    """A run that was stopped in its export, of a model that is not there."""
    run = RunDir(root)
    run.create(load("sft", ["model.name=/nowhere/model"]))
    for stage in STAGES[:7]:
        run.event("begins", stage.name)
        write_json(stage.done(run), {})
    write_json(run.manifest, {"versions": {}, "data": [], "model": {"sha256": "x"}})
    write_json(run.verdict, {"ship": "yes", "reasons": []})
    write_json(run.dial, {"chosen": 1.0})
    write_json(run.adapter / "adapter_config.json", {"r": 16})
    (run.adapter / "adapter_model.safetensors").write_bytes(b"none")
    return run


def files(run: RunDir) -> dict[str, bytes]:
    return {
        str(path.relative_to(run.root)): path.read_bytes()
        for path in run.root.rglob("*")
        if path.is_file() and path.name != "lock" and "logs" not in path.parts
    }


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.sampled_from(sorted(DAMAGES)), st.binary(max_size=20)),
        min_size=1, max_size=3,
    ),
    st.sampled_from(["doctor", "export", "evaluate", "train"]),
)  # fmt: skip
@settings(
    max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
def test_a_malformed_run_is_one_sentence(tmp_path_factory, damages, verb):
    run = whole(tmp_path_factory.mktemp("run") / "run")
    for number, kind, more in damages:
        there = sorted(path for path in run.root.rglob("*") if path.is_file())
        DAMAGES[kind](there[number % len(there)], more)
    before = files(run)
    if verb == "train":
        call("train", "sft", "--set", "model.name=/nowhere/model", "--run", str(run.root))
    else:
        call(verb, str(run.root))
    after = files(run)
    # What is told of a verb goes to the events' end, after their last whole line.
    told, had = after.pop("events.jsonl", b""), before.pop("events.jsonl", b"")
    assert told.startswith(had[: had.rfind(b"\n") + 1])
    assert after == before

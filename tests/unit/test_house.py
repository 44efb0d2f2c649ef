"""The rules of the house: style, types, which way imports point, and how soon --help answers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "appliance"

# Low to high. A room imports from lower floors and from its own, but see NEIGHBOURS.
FLOORS = [
    {"errors"},
    {"console", "disk", "home", "memory", "recipe", "run", "sections", "statistics", "tables"},
    {"data", "gate", "limits", "recipe_docs", "report", "sizing"},
    {"model"},
    {"train", "evaluate", "export"},
    {"manifest", "pipeline", "plan", "doctor", "talk"},
    {"ablate", "compare", "follow"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
NEIGHBOURS = {"train", "evaluate", "export"}  # who never import one another
LIGHT = set().union(*FLOORS[:3])
HEAVY = {
    *("accelerate", "bitsandbytes", "datasets", "matplotlib", "pandas", "peft", "pyarrow", "scipy"),
    *("torch", "transformers", "trl", "unsloth", "unsloth_zoo", "wandb"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    """The room of `appliance.room.more`; '' for the package itself."""
    return [*module.split("."), ""][1]


def targets(node: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """The full names of the modules that an import statement may import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            up = module.split(".")
            up = up[: len(up) - node.level + is_package]
            base = ".".join([*up, *filter(None, [node.module])])
        if base == "appliance":
            yield from (f"{base}.{alias.name}" for alias in node.names)
        else:
            yield base


def imports(path: Path, inside_functions: bool = True) -> Iterator[tuple[int, str]]:
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        for name in targets(node, module_name(path), path.name == "__init__.py"):
            yield getattr(node, "lineno", 0), name
        if inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # No expression holds an import.
            todo += (
                below for below in ast.iter_child_nodes(node) if not isinstance(below, ast.expr)
            )


def test_every_module_lives_in_a_room_that_has_a_floor() -> None:
    homeless = {m for m in modules() if room_of(m) and room_of(m) not in FLOOR}
    assert not homeless, "give these a place in FLOORS"


def test_imports_point_down() -> None:
    wrong = []
    for module, path in modules().items():
        room = room_of(module)
        for line, name in imports(path):
            target = room_of(name)
            if not name.startswith("appliance.") or target not in FLOOR or target == room:
                continue
            sideways = {room, target} <= NEIGHBOURS
            if not room or FLOOR[target] > FLOOR.get(room, 0) or sideways:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_light_rooms_import_nothing_heavy_at_module_level() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in modules().items()
        if room_of(module) in LIGHT | {"", "ablate", "compare", "follow", "cli", "__main__"}
        for line, name in imports(path, inside_functions=False)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def heavy_after(statement: str) -> set[str]:
    """Which heavy libraries a fresh Python has loaded after `statement`."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in done.stdout.split()} & HEAVY


def test_light_rooms_load_nothing_heavy() -> None:
    light = [m for m in modules() if room_of(m) in LIGHT]
    assert heavy_after("\n".join(f"import {m}" for m in light)) == set()


def test_the_command_line_loads_nothing_heavy() -> None:
    assert heavy_after("import appliance.cli") == set()


def test_help_answers_at_once() -> None:
    best = 9.0
    for _ in range(5):
        start = time.perf_counter()
        command = [sys.executable, "-m", "appliance", "--help"]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        best = min(best, time.perf_counter() - start)
    assert best < 0.3


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check"], id="ruff check"),
        pytest.param(["ruff", "format", "--check"], id="ruff format"),
        pytest.param(["mypy"], id="mypy"),
    ],
)
def test_style_and_types(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_names_a_package_registry_or_a_folder_of_the_machine_it_was_made_on() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    # Each written in two pieces, or this file would find itself.
    unwanted = re.compile(
        "|".join(
            a + b
            for a, b in [
                (r"pypi\.", "org"),
                ("python", r"hosted\.org"),
                (r"download\.py", r"torch\.org"),
                (r"deb\.", r"debian\.org"),
                (r"registry\.", r"npmjs\.org"),
                ("/work", "/"),
                ("/opt/", "wheels"),
                ("/opt/", "pypi"),
                (r"/root/\.", "pyenv"),
            ]
        )
    )
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.is_file():
            text = path.read_text(errors="replace")
            found += [f"{name}: {match[0]}" for match in unwanted.finditer(text)]
    assert found == []

"""Imports go one way: the syntax tree of every file is walked, and an upward edge fails."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "morphogen"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("core",),
    ("spaces",),
    ("benchmarks",),
    ("supernets",),
    ("cost", "tasks"),
    ("bilevel", "evolution", "predictors", "proxies", "evaluators"),
    ("scoring",),
    ("methods",),
    ("runs",),
    ("reports",),
    ("exports",),
    ("engine",),
    ("cli", "testing"),
)
"""Lowest first. A file imports from its own package and from lower floors only."""

LEVEL = {name: level for level, floor in enumerate(FLOORS) for name in floor}

BESIDE = {("evaluators", name) for name in FLOORS[5]}
"""Neighbours on one floor that may be imported: an evaluator wraps a proxy or a predictor."""

WITHOUT_TORCH = ("core", "spaces", "benchmarks")

SHARED_BY_METHODS = ("base", "registry")
"""Modules of `methods` that are no method: any method may import them."""

ALLOWED_TASKS = {
    # A toy of the one task that every part of the library is tried on; it has to name one.
    ("morphogen.testing.toys", "classification"),
}
"""Files outside a task's own folder that name the task."""

CLI_ROOMS: tuple[tuple[str, ...], ...] = (
    ("options", "terminal"),
    ("catalogue", "command", "interruptible", "kinds"),
    ("searching", "training"),
    ("commands",),
    ("",),
)
"""Likewise within `cli`, whose own file, with `main`, is the top."""

CLI_LEVEL = {name: level for level, floor in enumerate(CLI_ROOMS) for name in floor}

Edge = tuple[str, str]


def package(module: str) -> str:
    """`methods` of `morphogen.methods.darts`; the top of the tree counts as `cli`."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL else "cli"


def module_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Every module that a file imports, late imports and those for the type checker included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = module.split(".")
            base = start[: len(start) - node.level + is_package] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from morphogen import spaces` names a package, `from x import y` perhaps a module.
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and isinstance(node.args[0].value, str)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module"
        ):
            yield node.args[0].value


def fault(
    module: str,
    target: str,
    concrete_spaces: frozenset[str],
    methods: frozenset[str],
    tasks: frozenset[str],
) -> str | None:
    """Why `module` must not import `target`, or None."""
    source, parts = package(module), target.split(".")
    named = parts[2] if parts[:2] == ["morphogen", "tasks"] and parts[2:] else ""
    outside = module.split(".")[1:3] != ["tasks", named]
    if named in tasks and outside and (module, named) not in ALLOWED_TASKS:
        return f"only its own folder names the task {named}"
    if parts[0] in {"torch", "torchvision", "lightning", "lightning_fabric"}:
        return f"{source} knows nothing of {parts[0]}" if source in WITHOUT_TORCH else None
    if parts[0] != "morphogen" or module == "morphogen":
        return None
    if len(parts) > 1 and parts[1] not in LEVEL:
        # `morphogen.__version__` and such: names of the top, which imports nothing itself.
        return None
    to = package(target)
    if module.split(".")[1] == to == "cli":
        own, other = [*module.split("."), ""][2], [*parts, ""][2]
        other = other if other in CLI_LEVEL else ""
        upward = own != other and CLI_LEVEL.get(own, -1) <= CLI_LEVEL[other]
        return f"cli/{own} must not import {target}" if upward else None
    if source == to == "methods":
        own, other = [*module.split("."), ""][2], [*parts, ""][2]
        foreign = own in methods and other in methods and other != own
        return f"the method {own} imports the method {other}" if foreign else None
    if source == "methods" and to == "spaces" and parts[2:3] and parts[2] in concrete_spaces:
        return f"a method names the concrete space {parts[2]}"
    if source == to or LEVEL[to] < LEVEL[source] or (source, to) in BESIDE:
        return None
    return f"{source} must not import {to}"


def faults(root: Path) -> list[str]:
    concrete = frozenset(
        p.stem for p in (root / "spaces").glob("*.py") if p.stem not in {"__init__", "base"}
    )
    methods = frozenset(
        p.stem
        for p in (root / "methods").glob("*.py")
        if p.stem not in SHARED_BY_METHODS and not p.stem.startswith("_")
    )
    # A folder beside them without a configuration is shared by several.
    tasks = frozenset(p.parent.name for p in (root / "tasks").glob("*/config.py"))
    found = []
    for path in sorted(root.rglob("*.py")):
        module = module_of(path, root)
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for target in imported(tree, module, path.name == "__init__.py"):
            why = fault(module, target, concrete, methods, tasks)
            if why:
                found.append(f"{path.relative_to(root)} imports {target}: {why}")
    return found


def test_no_import_goes_upward() -> None:
    assert faults(SOURCE) == []


def test_nothing_in_the_command_line_imports_in_a_circle() -> None:
    files = {module_of(p, SOURCE): p for p in (SOURCE / "cli").rglob("*.py")}
    edges: dict[str, set[str]] = {}
    for module, path in files.items():
        names = imported(ast.parse(path.read_text("utf-8")), module, path.name == "__init__.py")
        homes = {name if name in files else name.rpartition(".")[0] for name in names}
        edges[module] = homes & (set(files) - {module})
    assert len([*TopologicalSorter(edges).static_order()]) == len(files)  # raises for a circle


def test_every_package_stands_on_a_floor() -> None:
    packages = {p.parent.name for p in SOURCE.glob("*/__init__.py")}
    assert packages <= set(LEVEL)


@pytest.mark.parametrize(
    ("file", "code", "caught"),
    [
        ("core/a.py", "import torch", True),
        ("spaces/a.py", "def f():\n    from torch import nn", True),
        ("supernets/a.py", "import torch.nn", False),
        ("core/a.py", "from morphogen.spaces import SearchSpace", True),
        ("core/a.py", "from ..spaces.base import SearchSpace", True),
        ("core/a.py", "from .errors import MorphogenError", False),
        ("core/__init__.py", "from .errors import MorphogenError", False),
        ("core/__init__.py", "from .. import cli", True),
        ("spaces/a.py", "from morphogen import benchmarks", True),
        (
            "spaces/a.py",
            "import importlib\nimportlib.import_module('morphogen.engine.loop')",
            True,
        ),
        ("benchmarks/a.py", "from morphogen.spaces.nasbench201 import NASBench201", False),
        ("tasks/a.py", "from morphogen.cost import params", True),
        ("proxies/a.py", "from morphogen.predictors import fit", True),
        ("evaluators/a.py", "from morphogen.proxies import score", False),
        ("evaluators/a.py", "from morphogen.methods import METHODS", True),
        ("proxies/a.py", "from morphogen.scoring import turn", True),
        ("scoring/a.py", "from morphogen.methods import find", True),
        ("methods/a.py", "from morphogen.scoring import turn", False),
        ("methods/a.py", "from morphogen.spaces import Differentiable", False),
        ("methods/a.py", "from morphogen.spaces.nasbench201 import NASBench201", True),
        ("methods/a.py", "from morphogen.engine import run", True),
        ("methods/a.py", "from morphogen.methods.darts import DARTS", True),
        ("methods/a.py", "from .darts import DARTS", True),
        ("methods/a.py", "from morphogen.methods import darts", True),
        ("methods/a.py", "from morphogen.methods.base import method", False),
        ("methods/__init__.py", "from .darts import DARTS", False),
        ("reports/a.py", "from morphogen.engine import run", True),
        ("exports/a.py", "from morphogen.engine import run", True),
        ("engine/a.py", "from morphogen.reports.page import render", False),
        ("reports/a.py", "from morphogen.runs.directory import RunDirectory", False),
        ("runs/a.py", "from morphogen.engine import run", True),
        ("methods/a.py", "from morphogen.runs import store", True),
        ("engine/a.py", "from morphogen.methods import METHODS", False),
        ("cli.py", "from morphogen import engine, reports", False),
        ("cli/options.py", "from morphogen.cli.commands import search", True),
        ("cli/terminal/a.py", "def f():\n    from morphogen.cli.command import Command", True),
        ("cli/commands/a.py", "from morphogen.cli import main", True),
        ("cli/commands/a.py", "from morphogen.cli.terminal.output import width", False),
        ("cli/__init__.py", "from morphogen.cli.commands import run", False),
        ("core/a.py", "import numpy, morphogen.core.errors", False),
        ("engine/a.py", "from morphogen.tasks.classification import ImageTask", True),
        ("engine/a.py", "from morphogen.tasks import classification", True),
        ("tasks/kinds.py", "from .classification.config import ImageConfig", True),
        ("tasks/signals/a.py", "from morphogen.tasks.classification import resize", True),
        ("tasks/classification/a.py", "from morphogen.tasks.labelled.names import few", False),
        ("engine/a.py", "from morphogen.tasks.labelled.names import few", False),
        ("testing/toys.py", "from morphogen.tasks.classification import ImageTask", False),
    ],
)
def test_the_walk_catches_an_upward_edge(
    file: str, code: str, caught: bool, tmp_path: Path
) -> None:
    root = tmp_path / "morphogen"
    (root / "spaces").mkdir(parents=True)
    (root / "spaces" / "nasbench201.py").touch()
    (root / "methods").mkdir()
    (root / "methods" / "darts.py").touch()
    (root / "tasks" / "classification").mkdir(parents=True)
    (root / "tasks" / "classification" / "config.py").touch()
    (root / file).parent.mkdir(exist_ok=True, parents=True)
    (root / file).write_text(code)
    assert bool(faults(root)) == caught


def test_every_folder_of_modules_is_a_package() -> None:
    """One without __init__.py is passed over by tools that walk packages."""
    for folder in {path.parent for path in SOURCE.rglob("*.py")}:
        assert (folder / "__init__.py").is_file(), folder

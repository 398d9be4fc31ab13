"""The arrows of the architecture page, and what every source file and every test owes its reader."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator, Set
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gan_core", "search_spaces", "results", "sweep")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LONGEST_FILE_LINES = 350
# A package imports from itself and from those before it, and a package of a package likewise.
GAN_CORE = (
    *("config", "files", "native", "lanes", "data", "networks", "game", "execution", "training"),
    *("fidelity", "workshop"),
)
SWEEP = (
    *("ladder", "spec", "proposals", "tracking", "ledger", "storage", "cohorts", "runners", "run", "planning"),
    *("winner", "commands", "__main__"),
)
OURS = {  # package -> what it sees of the others
    "gan_core": set(),
    "search_spaces": {"gan_core.config", "gan_core.files"},
    "results": {"gan_core.config", "gan_core.files"},
}
MAY_IMPORT = {  # heavy package -> the packages that import it
    "torch": {f"gan_core.{name}" for name in GAN_CORE[2:]} | {"sweep.runners.local", "sweep.winner"},
    "optuna": {"search_spaces", "sweep.proposals", "sweep.tracking"}
    | {"results.analysis", "results.plots", "results.table"},  # the last for the type of what it returns
    "plotly": {"results.plots", "results.report"},
    "jinja2": {"results.report"},
    "onnxruntime": {"gan_core.workshop"},
    "optuna_dashboard": {"sweep.tracking"},
    "mlflow": {"sweep.tracking"},
    "tensorboard": {"sweep.tracking"},
    "wandb": {"sweep.tracking"},
    "ray": {"sweep.runners.ray"},
    "pyarrow": {"gan_core.files", "gan_core.data.hugging_face", "results.loading"},
    "fsspec": {"gan_core.files"},
}
TORCH_INTERNALS = "gan_core/lanes/torch_internals.py"
MAIN_NAMES = [
    f"gan_core.{name}" for name in ("config", "lanes", "data", "networks", "training", "fidelity", "workshop")
]
LIGHT = (  # of packages that load torch, the modules that do not
    *("gan_core.native.isa", "gan_core.native.compiler", "gan_core.native.arithmetic", "gan_core.lanes.streams"),
    *("gan_core.data.published_images", "gan_core.data.pictures", "gan_core.data.image_files", "gan_core.data.facts"),
    *("gan_core.data.enough_images", "gan_core.data.digest", "gan_core.fidelity.examination"),
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    """A file's syntax tree, which several tests read."""
    return ast.parse(path.read_text())


def imported_modules(tree: ast.AST) -> set[str]:
    """Full names of what a file imports anywhere in it, `import_module("x")` and `__import__("x")` included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide an arrow"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Call) and called_name(node) in ("import_module", "__import__"):
            found.add(str(node.args[0].value) if isinstance(node.args[0], ast.Constant) else COMPUTED)
    return found


def called_name(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def module_of(path: str) -> str:
    """The module of a source file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def modules_in(*folders: str) -> list[str]:
    """Of these folders."""
    return [module_of(name_of(path)) for path in SOURCES if name_of(path).startswith(folders)]


def within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


COMPUTED = "(computed)"  # what `import_module(name)` imports
IMPORTS = {name_of(path): imported_modules(parsed(path)) for path in SOURCES}


def test_the_checks_below_see_the_sources():
    assert len(SOURCES) > 25
    assert "ray.tune" in IMPORTS["sweep/runners/ray/runner.py"]
    assert "optuna.distributions.IntDistribution" in IMPORTS["search_spaces/space.py"]
    assert within("gan_core.config.gan.GanConfig", {"gan_core.config.gan"})
    assert not within("gan_core.configs", {"gan_core.config.gan"})


def test_only_a_persons_own_code_is_imported_by_a_computed_name_which_would_hide_an_arrow():
    assert [path for path, modules in IMPORTS.items() if COMPUTED in modules] == ["gan_core/files/own_code.py"]


@pytest.mark.parametrize("package", OURS)
def test_a_package_sees_of_the_others_only_what_its_arrows_allow(package):
    seen = {
        f"{path}: {module}"
        for path, modules in IMPORTS.items()
        if path.startswith(f"{package}/")
        for module in modules
        if module.split(".")[0] in PACKAGES and not within(module, OURS[package] | {package})
    }
    assert seen == set()


@pytest.mark.parametrize(("package", "order"), [("gan_core", GAN_CORE), ("sweep", SWEEP)])
def test_the_arrows_between_the_rooms_of_a_package_go_one_way(package, order):
    backwards = set()
    for path, modules in IMPORTS.items():
        own, *rest = module_of(path).split(".")
        if own != package or not rest:
            continue
        for module in modules:
            first, *others = module.split(".")
            if first == package and others:
                assert others[0] in order, f"{path} imports {module}"
                if order.index(others[0]) > order.index(rest[0]):
                    backwards.add(f"{path}: {module}")
    assert backwards == set()


def test_no_modules_import_each_other_in_a_circle():
    """Also not late, within a function, or for types alone."""
    known = {module_of(path) for path in IMPORTS}
    seen = {module_of(path): modules & known - {module_of(path)} for path, modules in IMPORTS.items()}
    order = list(TopologicalSorter(seen).static_order())  # raises CycleError, with the modules of a circle
    assert order.index("gan_core.config.input_error") < order.index("gan_core.lanes.axis") < order.index("sweep.run")


def test_no_rooms_import_each_other_in_a_circle():
    """A room is a package or a module beside others in one package; what a package imports is all that lies in it."""
    orders: dict[str, list[str]] = {}
    for package in sorted({name_of(path.parent).replace("/", ".") for path in SOURCES}):
        seen: dict[str, set[str]] = {}
        for path, modules in IMPORTS.items():
            room = room_in(package, module_of(path))
            if room:
                seen.setdefault(room, set()).update({room_in(package, module) for module in modules} - {"", room})
        orders[package] = list(TopologicalSorter(seen).static_order())  # raises CycleError, with the rooms of a circle
    training = orders["gan_core.training"]
    assert training.index("native_adam") < training.index("optim") < training.index("compiled")


def room_in(package: str, module: str) -> str:
    """The part of a package to which a module of it belongs; "" for the package itself and for any other module."""
    return module.removeprefix(f"{package}.").split(".")[0] if module.startswith(f"{package}.") else ""


def defined_in(path: Path) -> set[str]:
    """The names that a module defines, those of its functions and classes included."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return stored | {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_a_name_is_imported_from_the_module_that_defines_it():
    """Only the main names of a package have a second path."""
    defined = {module_of(name_of(path)): defined_in(path) for path in SOURCES if path.stem != "__init__"}
    borrowed = {
        f"{path}: {module}"
        for path, modules in IMPORTS.items()
        for module in modules - defined.keys()
        for home, _, name in [module.rpartition(".")]
        if home in defined and name not in defined[home]
    }
    assert borrowed == set()


@pytest.mark.parametrize("path", [path for path in SOURCES if name_of(path) != TORCH_INTERNALS], ids=name_of)
def test_private_names_of_torch_stand_in_one_file(path):
    tree = parsed(path)
    imported = {module for module in IMPORTS[name_of(path)] if within(module, {"torch"}) and "._" in module}
    private = re.compile(r"torch(\.(?!ops\b)\w+)*\._[a-z]\w*|.*\._(schema|cdata)")
    attributes = {
        ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")
    }
    used = {name for name in attributes if private.fullmatch(name)}
    assert (imported, used) == (set(), set())


@pytest.mark.parametrize("package", MAIN_NAMES)
def test_a_package_gives_its_main_names_and_no_others(package):
    found = importlib.import_module(package)
    assert 3 <= len(found.__all__) <= 8
    for name in found.__all__:
        assert getattr(found, name).__module__.startswith(f"{package}."), name
    with pytest.raises(AttributeError, match="has no attribute 'Absent'"):
        _ = found.Absent


@pytest.mark.parametrize("heavy", MAY_IMPORT)
def test_a_heavy_package_is_imported_only_where_the_architecture_says(heavy):
    importers = {module_of(path) for path, modules in IMPORTS.items() if any(within(m, {heavy}) for m in modules)}
    assert {importer for importer in importers if not within(importer, MAY_IMPORT[heavy])} == set()
    assert importers


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import results.table, results.export, results.pictures", {"torch", "ray", "optuna", "plotly"}),
        (f"import {', '.join(LIGHT)}", {"torch", "ray", "optuna", "pandas"}),
        (f"import {', '.join(modules_in('gan_core/config', 'gan_core/files'))}", {"torch", "ray", "optuna", "pandas"}),
        (f"import {', '.join(MAIN_NAMES)}", {"torch", "ray", "optuna", "pandas"}),
        ("import gan_core.lanes.axis, gan_core.lanes.products, gan_core.lanes.precision", {"gan_core.native.compiler"}),
        ("from search_spaces.space import SearchSpace; SearchSpace.load('mlp')", {"torch", "ray", "optuna"}),
        ("from sweep.spec.sweep_spec import SweepSpec; SweepSpec()", {"torch", "ray", "optuna"}),
        ("import sweep.cohorts.cohort, sweep.ledger.study, sweep.runners.progress", {"torch", "ray"}),
        ("import sweep.commands.cli", {"torch", "ray", "optuna", "pandas", "numpy", "yaml", "pyarrow"}),
    ],
)
def test_what_needs_no_heavy_package_loads_none(statement, absent):
    code = f"{statement}\nimport sys\nprint(sorted({absent!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_table_loads_with_pandas_alone(digits_run):
    code = (
        "import sys; from results.table import ResultsTable\n"
        "print(len(ResultsTable.load(sys.argv[1]).frame), sorted({'torch', 'ray', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, digits_run], cwd=ROOT, capture_output=True, text=True)
    rows, loaded = done.stdout.split(maxsplit=1)
    assert int(rows) >= 4, done.stderr
    assert loaded.strip() == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_an_init_file_is_only_a_docstring(package):
    body = ast.parse((ROOT / package / "__init__.py").read_text()).body
    assert len(body) == 1
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)
    assert isinstance(body[0].value.value, str)


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_source_file_is_short_and_well_named(path):
    assert len(path.read_text().splitlines()) <= LONGEST_FILE_LINES
    assert not {"utils", "helpers", "helper", "common", "manager"} & set(path.stem.split("_"))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_every_module_and_every_public_function_and_class_says_what_it_is(path):
    tree = parsed(path)
    public = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert ast.get_docstring(tree)
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def functions_in(paths: list[Path]) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Every function in these files, with the name by which pytest would call it."""
    for path in paths:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef):
                yield f"{name_of(path)}::{node.name}", node


def asserts_something(function: ast.AST, helpers: Set[str] = frozenset()) -> bool:
    """Whether a function asserts, expects an error or a warning, or calls one of the helpers that do. `assert_...` are
    helpers, our own and those of numpy and torch.
    """
    called = {called_name(node) for node in ast.walk(function) if isinstance(node, ast.Call)}
    return (
        any(isinstance(node, ast.Assert) for node in ast.walk(function))
        or not called.isdisjoint(helpers | {"raises", "warns"})
        or any(name.startswith("assert_") for name in called)
    )


def test_every_test_asserts_something():
    """A function `check_...` counts only where the tests define it: those of production code assert nothing."""
    defined = list(functions_in(sorted((ROOT / "tests").rglob("*.py"))))
    helpers = {node.name for _, node in defined if node.name.startswith("check_") and asserts_something(node)}
    assert helpers & {node.name for _, node in functions_in(SOURCES)} == set()
    tests = [(name, node) for name, node in defined if node.name.startswith("test_")]
    assert len(tests) > 1000
    assert [name for name, node in tests if not asserts_something(node, helpers)] == []


@pytest.mark.parametrize("path", [path for path in SOURCES if ">>> " in path.read_text()], ids=name_of)
def test_the_examples_in_docstrings_give_what_they_say(path):
    found = doctest.testmod(importlib.import_module(module_of(name_of(path))))
    assert found.attempted > 0
    assert found.failed == 0

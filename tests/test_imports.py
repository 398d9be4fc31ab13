"""The arrows of the architecture page, and what every source file and every test owes its reader."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gan_core", "search_spaces", "results", "sweep")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
LONGEST_FILE_LINES = 350
WITHOUT_TORCH = {
    *(
        "gan_core/__init__.py",
        "gan_core/config/version.py",
        "gan_core/config/input_error.py",
        "gan_core/config/fields.py",
    ),
    *(
        "gan_core/config/dataset_name.py",
        "gan_core/config/combinations.py",
        "gan_core/config/gan.py",
        "gan_core/config/reports.py",
    ),
    *(
        "gan_core/config/health.py",
        "gan_core/config/conditions.py",
        "gan_core/files/cache.py",
        "gan_core/lanes/streams.py",
        "gan_core/files/whole_files.py",
    ),
    *("gan_core/config/schedule.py", "gan_core/native/arithmetic.py", "gan_core/fidelity/examination.py"),
    *("gan_core/data/published_images.py", "gan_core/data/pictures.py", "gan_core/data/image_files.py"),
    *(
        "gan_core/data/picture_files.py",
        "gan_core/data/picture_folder.py",
        "gan_core/data/enough_images.py",
        "gan_core/data/digest.py",
        "gan_core/data/facts.py",
    ),
    *(
        f"gan_core/native/{name}.py"
        for name in ("__init__", "compiler", "convolutions", "isa", "kept", "products", "toolchain", "winograd")
    ),
}
MAY_IMPORT = {
    "torch": {str(p.relative_to(ROOT)) for p in SOURCES if "gan_core" in p.relative_to(ROOT).parts} - WITHOUT_TORCH
    | {"sweep/runners/local/runner.py", "sweep/winner/final_training.py"},
    "optuna": {
        *(
            "search_spaces/space.py",
            "sweep/proposals/drafts.py",
            "sweep/proposals/fairness.py",
            "sweep/proposals/journal.py",
            "sweep/proposals/journal_record.py",
            "sweep/proposals/proposals.py",
            "sweep/proposals/samplers.py",
            "sweep/proposals/tpe.py",
            "sweep/tracking/dashboard.py",
        ),
    },
    "optuna_dashboard": {"sweep/tracking/dashboard.py"},
    "mlflow": {"sweep/tracking/mlflow_tracker.py"},
    "wandb": {"sweep/tracking/wandb_tracker.py"},
    "ray": {f"sweep/ray_{name}.py" for name in ("runner", "start", "study", "trainable")},
}
OURS = {
    "gan_core": {"gan_core"},
    "search_spaces": {"search_spaces", "gan_core.config.gan"},
    "results": {"results", "gan_core.files.plain_yaml", "gan_core.config.input_error", "gan_core.files.whole_files"},
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


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
            assert isinstance(node.args[0], ast.Constant), "an import by a computed name hides an arrow"
            found.add(str(node.args[0].value))
    return found


def called_name(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def modules_of(paths: set[str]) -> set[str]:
    """The modules of source files."""
    return {path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path in paths}


def within(module: str, allowed: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


IMPORTS = {name_of(path): imported_modules(ast.parse(path.read_text())) for path in SOURCES}


def test_the_checks_below_see_the_sources():
    assert len(SOURCES) > 25
    assert "ray.tune" in IMPORTS["sweep/runners/ray/runner.py"]
    assert "optuna.distributions.IntDistribution" in IMPORTS["search_spaces/space.py"]
    assert within("gan_core.config.gan.GanConfig", {"gan_core.config.gan"})
    assert not within("gan_core.configs", {"gan_core.config.gan"})


@pytest.mark.parametrize("package", OURS)
def test_a_package_sees_of_ours_only_what_its_arrows_allow(package):
    seen = {
        f"{path}: {module}"
        for path, modules in IMPORTS.items()
        if path.startswith(f"{package}/")
        for module in modules
        if module.split(".")[0] in PACKAGES
        and not within(module, OURS[package])
        and not any(within(allowed, {module}) for allowed in OURS[package])  # `from gan_core import config`: the prefix
    }
    assert seen == set()


@pytest.mark.parametrize("heavy", MAY_IMPORT)
def test_a_heavy_package_is_imported_only_where_the_architecture_says(heavy):
    importers = {path for path, modules in IMPORTS.items() if any(within(m, {heavy}) for m in modules)}
    assert importers <= MAY_IMPORT[heavy]
    assert importers


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import results.table, results.export, results.plots", {"torch", "ray", "optuna"}),
        (f"import {', '.join(sorted(modules_of(WITHOUT_TORCH)))}", {"torch", "ray", "optuna", "pandas"}),
        ("from search_spaces.space import SearchSpace; SearchSpace.load('mlp')", {"torch", "ray", "optuna"}),
        ("from sweep.spec.sweep_spec import SweepSpec; SweepSpec()", {"torch", "ray", "optuna"}),
        ("import sweep.cohorts.cohort, sweep.ledger.study, sweep.commands.progress", {"torch", "ray"}),
        ("import sweep.commands.cli", {"torch", "ray", "optuna", "pandas", "numpy", "yaml"}),
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
    tree = ast.parse(path.read_text())
    public = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert ast.get_docstring(tree)
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def asserts_something(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = called_name(node)
            if name in ("raises", "warns") or name.startswith(("assert_", "check_")):
                return True
    return False


def test_every_test_asserts_something():
    silent = [
        f"{name_of(path)}::{node.name}"
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not asserts_something(node)
    ]
    assert len(TESTS) > 12
    assert silent == []

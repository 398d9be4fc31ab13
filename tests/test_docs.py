"""What the README and the pages of `docs/` say: commands are commands, names are names, and examples run."""

import importlib
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from gan_core.config.conditions import EXECUTIONS, PRECISIONS, Conditions, ScoringConfig
from gan_core.config.dataset_name import parse_dataset_name
from gan_core.config.gan import HYPERPARAMETERS, GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.reports import LaneReport, minimised
from gan_core.files.plain_yaml import parse_yaml
from gan_core.workshop.workshop import Workshop
from results.rows import OWN
from results.table import ResultsTable
from search_spaces.space import SearchSpace, shipped_spaces
from sweep.commands.cli import COMMANDS, name_of
from sweep.ladder.ladder import RULES
from sweep.ladder.population import PopulationConfig
from sweep.spec.objectives import check_objectives, objectives
from sweep.spec.sampler import OPTIONS
from sweep.spec.sweep_spec import SweepSpec
from sweep.tracking.trackers import TRACKERS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))
reference: Any = importlib.import_module("reference")
pytestmark = pytest.mark.usefixtures("quick")
README = (ROOT / "README.md").read_text()
PAGES = {path.name: path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))}
TEXTS = {"README.md": README, **PAGES}
NOT_RUN = "<!-- not run -->\n\n"


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language that are not marked as not to be run."""
    return re.findall(rf"(?<!{NOT_RUN})^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """What is typed after `gan-sweep` in the blocks of a shell, those that are not run too."""
    typed = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    lines = [part for line in typed.splitlines() for part in shlex.split(line, comments=True) + ["&&"]]
    found: list[list[str]] = [[]]
    for word in lines:
        found += [[]] if word == "&&" else []
        found[-1] += [word] if word != "&&" else []
    return [words[1:] for words in found if words[:1] == ["gan-sweep"]]


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "examples/README.md"])
def test_what_a_page_outside_the_documentation_links_to_is_there(page):
    """Links inside `docs/` are held by `mkdocs build --strict`."""
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text())]
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
    assert links or page == "examples/README.md"


def test_every_command_that_is_printed_is_one():
    typed = [words for text in (*TEXTS.values(), (ROOT / "examples/README.md").read_text()) for words in commands(text)]
    assert len(typed) > 20
    parsers = {name_of(module): reference.parser_of(module) for module in COMMANDS}
    for name, *rest in filter(None, typed):
        parsers[name].parse_args(rest)  # ends the process, and the test, where it cannot


def test_the_tutorial_runs(gan_sweep):
    typed = [words for block in blocks(PAGES["getting-started.md"], "sh") for words in commands(f"```sh\n{block}```")]
    assert [words[0] for words in typed] == ["run", "results", "results", "export", "verify", "train", "sample"]
    for words in typed:
        answer = gan_sweep(*words)
        assert answer.code == 0, f"{words}: {answer.err}"
        assert words[0] != "verify" or "reproduced exactly" in answer.out


def test_the_commands_for_ones_own_pictures_run(gan_sweep):
    pictures = Path("pictures")
    images, labels = load_digits(return_X_y=True)
    for number, (image, label) in enumerate(zip(images[:320], labels[:320], strict=True)):
        (pictures / str(label % 2)).mkdir(parents=True, exist_ok=True)
        grey = np.uint8(image.reshape(8, 8) * 15)
        Image.fromarray(grey).save(pictures / str(label % 2) / f"{number}.png")
    small = ["structure.generator_width=2", "structure.discriminator_width=2", "structure.image_size_pixels=8"]
    tiny = [*small, "ladder.rungs_images=[128]", "scoring.samples=60", "scoring.features=classifier", "trials=2"]
    more = {"run": ["--local", *(part for one in tiny for part in ("--set", one))], "train": ["--images", "128"]}
    more["data"] = ["--image-size-pixels", "8", "--features", "classifier"]
    typed = commands(README.partition("## Your own pictures")[2])
    assert [words[0] for words in typed] == ["data", "run", "results", "report", "export", "train", "sample"]
    for words in typed:
        answer = gan_sweep(*words, *more.get(words[0], []))
        assert answer.code == 0, f"{words}: {answer.err}"
    assert Path("grid.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_of_ones_own_model_begins_with_files_that_run(gan_sweep):
    page = PAGES["own-models.md"]
    files = dict(re.findall(r'^```\w+ title="([\w.]+)"\n(.*?)^```', page, re.DOTALL | re.MULTILINE))
    assert list(files) == ["my_gan.py", "sweep.yaml"]
    assert len(files["my_gan.py"].splitlines()) <= 25
    for name, text in files.items():
        Path(name).write_text(text)
    tiny = ["generator.width={choices: [4, 8]}", "discriminator.width=4", "generator.width=4", "trials=2"]
    tiny += ["ladder.rungs_images=[128]", "scoring.samples=60", "scoring.features=pixels", "execution=replayed"]
    more = {"run": ["--local", *(part for one in tiny for part in ("--set", one))], "train": ["--images", "128"]}
    for words in commands(page):
        answer = gan_sweep(*words, *more.get(words[0], []))
        assert answer.code == 0, f"{words}: {answer.err}"
    assert Path("generator.pt2").stat().st_size > 0


@pytest.mark.parametrize("page", [name for name, text in TEXTS.items() if blocks(text, "python")])
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, capsys, request):
    monkeypatch.chdir(tmp_path)
    if "run_sweep" not in TEXTS[page]:  # it begins with a run that is there
        shutil.copytree(request.getfixturevalue("digits_run"), tmp_path / "runs" / "first")
    for block in blocks(TEXTS[page], "python"):
        assert len([line for line in block.splitlines() if line.strip()]) <= 20
        exec(compile(block, page, "exec"), {"__name__": "__main__"})
    run = next((tmp_path / "runs").iterdir())
    assert len(ResultsTable.load(run).trials) == {"README.md": 8, "api.md": 2, "analysis.md": 4}[page]


def shown_spec() -> Mapping[str, Any]:
    return parse_yaml(blocks(PAGES["sweep-file.md"], "yaml")[0], "sweep-file.md")


def test_the_spec_that_is_shown_is_the_example():
    shown = SweepSpec.from_mapping(shown_spec())
    assert shown.differences(SweepSpec.from_yaml(ROOT / "examples" / "mnist_mlp.yaml")) == []


def test_the_spec_that_is_shown_has_every_key():
    shown, plain = shown_spec(), SweepSpec().plain()
    assert set(shown) == set(plain)
    for key in ("ladder", "confirm", "budget", "resources"):
        assert set(shown[key]) == set(plain[key])
    block = blocks(PAGES["sweep-file.md"], "yaml")[0]
    assert [name for name in (*OPTIONS, *RULES, *PRECISIONS, *EXECUTIONS) if name not in block] == []
    assert [name for name in TRACKERS if name not in block.lower()] == []


def test_the_table_of_a_specs_keys_has_every_key_with_its_default():
    plain = SweepSpec().plain()
    rows = {key: default for key, default, *_ in reference.spec_rows()}
    plain["population"] = asdict(PopulationConfig())
    mappings = [key for key, value in plain.items() if isinstance(value, dict) and key not in ("space", "tracking")]
    inner = {f"{key}.{name}" for key in mappings for name in plain[key]}
    assert set(rows) == inner | {"population"} | set(plain).difference(mappings)
    assert rows["ladder.keep_fraction"] == "0.5"
    assert rows["scoring.features"] == "auto"


def test_the_space_that_is_shown_is_one():
    space = SearchSpace.load(parse_yaml(blocks(PAGES["search-spaces.md"], "yaml")[0], "search-spaces.md"))
    assert len(space.ranges) >= 7
    assert len(space.constraints) == 1


def test_the_families_that_are_listed_are_the_shipped_spaces():
    lines = [line for line in PAGES["families.md"].splitlines() if line.startswith("| `")]
    assert sorted(name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[1])) == shipped_spaces()


def test_no_score_of_ones_own_can_take_the_column_of_another():
    for name in reference.SCORES:
        with pytest.raises(InputError, match="must not be named like a column"):
            check_objectives([f"my_gan.py:{name.replace('_N', '_7')}"], "digits")
    check_objectives(["my_gan.py:score"], "digits")


@pytest.mark.parametrize("name", reference.TABLES)
def test_every_generated_table_stands_in_a_page(name):
    pages = [text for text in PAGES.values() if f"<!-- table: {name} -->" in text]
    assert len(pages) == 1
    assert "<!-- table" not in reference.on_page_markdown(pages[0])


DATASETS = {  # every data set with other scores than the ones before it, and the architecture that is trained on it
    **{"digits": "mlp", "digits of cgan": "cgan", "digits of infogan": "infogan", "polygons": "mlp"},
    **{"gaussian": "gaussian", "mixture:0,1;4,1": "gaussian", "ring": "gaussian", "grid": "gaussian"},
}


@pytest.fixture(scope="module")
def reports(quick) -> Mapping[str, LaneReport]:
    """What is known of an untrained G and D, by data set."""
    found = {}
    for title, architecture in DATASETS.items():
        dataset = title.partition(" ")[0]
        names = {"structure.dataset": dataset, "structure.architecture": architecture, "structure.latent_size": 2}
        names |= {"structure.generator_width": 8, "structure.discriminator_width": 8}
        names |= {"structure.categorical_codes": 10} if architecture == "infogan" else {}
        conditions = Conditions(dataset=dataset, execution="eager", scoring=ScoringConfig(samples=50))
        found[title] = Workshop(conditions, "cpu").build([GanConfig.unflatten(names)]).train_to(64)[0]
    return found


def test_every_objective_of_a_data_set_is_among_its_scores(reports):
    """And the sweep's own: whatever may be minimised is a number of every trial."""
    for title, report in reports.items():
        names = objectives(parse_dataset_name(title.partition(" ")[0]))
        assert [name for name in names if not np.isfinite(minimised(report.fidelity.values, name))] == []


def test_every_column_of_a_table_is_described(reports):
    scores = set().union(*(report.fidelity.values for report in reports.values()))
    assert set(reference.SCORES) == {re.sub(r"^class_accuracy_\d$", "class_accuracy_N", name) for name in scores}
    assert set(reference.HEALTH) == {name for report in reports.values() for name in report.health}
    assert set(reference.COLUMNS) == set(OWN)


def test_the_names_that_are_written_are_names():
    """Hyperparameters, keys of a spec, and columns of a table."""
    dotted = r"(?<![\w./-])((?:lane|structure|scoring|health|fidelity|ladder|budget)\.(?!(?:py|md)\b)[a-z_0-9]+)"
    known = {*HYPERPARAMETERS, *(key for key, *_ in reference.spec_rows())}
    known |= {"fidelity.my_score"}  # a person's own
    known |= {f"fidelity.{name}" for name in reference.SCORES} | {f"health.{name}" for name in reference.HEALTH}
    written = {page: set(re.findall(dotted, text)) for page, text in TEXTS.items()}
    assert {name.partition(".")[0] for name in set().union(*written.values())} >= {"lane", "structure", "scoring"}
    assert {page: names - known for page, names in written.items() if names - known} == {}


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if "```diff" in text])
def test_what_a_diff_changes_is_there_to_be_changed(page):
    """Every line that a diff shows as it was stands in the file that it names."""
    diff = re.findall(r"```diff\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)[0]
    assert diff.count("+++ b/") >= 2
    for part in diff.split("--- ")[1:]:
        before, _, *lines = part.splitlines()
        if before == "/dev/null":
            continue
        there = (ROOT / before.removeprefix("a/")).read_text().splitlines()
        assert [line for line in lines if line[:1] in "- " and line[1:] not in there] == [], before

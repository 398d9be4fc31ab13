"""All keys of a spec, in a file and with `--set`: numbers, texts, ranges, and what is refused."""

import random
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from gan_core.config.fields import describe
from gan_core.config.gan import HYPERPARAMETERS, GanConfig, parse_value
from gan_core.config.input_error import InputError, shown
from search_spaces import dependencies
from search_spaces.fitting import COMBINED
from search_spaces.range_parsing import MOST_CHOICES
from search_spaces.space import MOST_CONSTRAINTS, SearchSpace
from sweep.spec.spec_keys import SECTIONS
from sweep.spec.sweep_spec import SweepSpec

KEYS = [
    *(item.name for item in fields(SweepSpec) if item.name != "objectives"),
    *("objective", "ladder.rungs_images", "ladder.keep_fraction", "ladder.rule", "ladder.grace_images", "ladder.x"),
    *("sampler.name", "sampler.n_startup_trials", "sampler.qmc_type", "population.perturb", "population.x"),
    *("tracking.mlflow.uri", "tracking.wandb.mode", "tracking.x", "resources.gpus_per_cohort", "lane.x", "x"),
    *("space.extends", "space.base", "space.ranges", "space.constraints", "space.name", "space.about"),
    *HYPERPARAMETERS,
    *(f"{key}.{name}" for key, part in SECTIONS.items() for name in describe(part)),
]
LONG = "x" * 5000
VALUES = [
    *(LONG, f"images:{LONG}", f"ring:{LONG}", f"'{LONG}'", f"[{LONG}]", f"[[{LONG}]]", f"[{{{LONG}: 1}}]", "x.yaml"),
    *(f"[{'1, ' * 300}]", f"{{{', '.join(f'k{n}: {n}' for n in range(100))}}}", f"{{choices: [{'1, ' * 1001}]}}"),
    *(f"{{low: 1, high: {LONG}}}", f"{{low: 0, high: 1, {LONG}: 1}}", f"{{low: 0, high: 1, when: {{{LONG}: 1}}}}"),
    *("9" * 90, "-1e400", "nan", "null", "true", "1e5", "- 1", "a: b #c", "&a", "*a", "!!x", "\0", "~nouser/x"),
    *("{name: [1]}", "[" * 9 + "]" * 9, "", "=", "{", "'", "{low: 1e-5, high: 1e-4, log: true}"),
]


def said(key: str, value: str) -> str:
    """The message with which a value is refused, or ""."""
    try:
        SweepSpec.from_mapping({}, [f"{key}={value}"]).to_yaml()
    except InputError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("place", range(len(VALUES)))
def test_a_value_of_any_key_is_taken_or_refused_in_one_line_that_a_terminal_holds(place):
    lines = {key: said(key, VALUES[place]) for key in KEYS[place % 3 :: 3]}  # a third of them; each meets ten values
    assert {key: line[:200] for key, line in lines.items() if len(line) > 600 or "\n" in line} == {}
    assert sum(bool(line) for line in lines.values()) > len(lines) / 3


def test_what_is_typed_at_random_is_taken_or_refused_in_one_line():
    random_ = random.Random(0)
    marks = [*"{}[],:#&*!|>'\"%@`=~-?.", " ", "\n", "1", "e5", "low", "high", "choices", "when", "null", "é", "\udc80"]
    for _ in range(300):
        value = "".join(random_.choice(marks) for _ in range(random_.randrange(12)))
        assert "\n" not in said(random_.choice(KEYS), value).replace(repr(value), "")


WHOLE = ["trials", "lanes_per_cohort", "lanes_per_call", "keep_checkpoints", "seed", "ladder.grace_images"]


@pytest.mark.parametrize("written", ["1e2", "1.0e+2", "100.0", "0100", "100"])
@pytest.mark.parametrize("typed", [True, False], ids=["typed", "in a file"])
def test_a_number_is_a_number_wherever_it_stands(tmp_path, written, typed):
    lines = {"ladder.rungs_images": f"[{written}, 2e2]", "ladder.keep_fraction": "5e-1", "budget.images": "1e6"}
    lines |= {"resources.cpus_per_cohort": "1e0", "sampler.n_startup_trials": written, "confirm.seeds": written}
    lines |= {key: written for key in WHOLE} | {
        "population.perturb": "[5e-1, 2e0]",
        "population.exploit_fraction": "1e-1",
    }
    lines |= {"budget.hours": written, "health.grace_images": written, "scoring.samples": written}
    if typed:
        spec = SweepSpec.from_mapping({}, [f"{key}={value}" for key, value in lines.items()])
    else:
        nested = "\n".join(
            f"{key}: {value}" if "." not in key else f"{key.partition('.')[0]}: {{{key.partition('.')[2]}: {value}}}"
            for key, value in lines.items()
            if key not in ("ladder.keep_fraction", "ladder.grace_images", "population.exploit_fraction", "budget.hours")
        )
        (tmp_path / "spec.yaml").write_text(nested)
        spec = SweepSpec.from_yaml(tmp_path / "spec.yaml")
    whole = (spec.trials, spec.lanes_per_cohort, spec.lanes_per_call, spec.keep_checkpoints, spec.seed)
    assert whole == (100,) * 5
    assert {type(number) for number in whole} == {int}
    assert spec.ladder.rungs_images == (100, 200)
    assert spec.sampler.options == {"n_startup_trials": 100}
    assert (spec.confirm.seeds, spec.scoring.samples) == (100, 100)
    assert spec.population is not None
    assert spec.population.perturb == (0.5, 2.0)
    assert spec.resources.cpus_per_cohort == 1
    assert SweepSpec.from_mapping(yaml.safe_load(spec.to_yaml())).differences(spec) == []


@pytest.mark.parametrize(
    "text",
    ["a #b", "a: b", "a\\b", "007", "1e5", "no", "null", "2026-02-30", "1:30", "*x", "&x", "!x", "-", "é", "%TAG"],
)
def test_a_text_is_as_it_was_typed(text):
    spec = SweepSpec.from_mapping({}, [f"name={text}", f"data_root=/{text}", ("data_root", f"/{text}")])
    assert (spec.name, spec.data_root) == (text, f"/{text}")
    again = SweepSpec.from_mapping(yaml.safe_load(spec.to_yaml()))
    assert (again.name, again.data_root) == (spec.name, spec.data_root)
    assert SweepSpec.from_mapping({}, [f"name='{text}'"]).name == text  # quoted, as before


def test_a_range_is_given_where_a_value_could_be():
    typed = ["lane.generator_lr={low: 1e-5, high: 1e-4, log: true}", "structure.loss={choices: [hinge, minimax]}"]
    space = SweepSpec.from_mapping({"space": "mlp"}, typed).space
    assert space.ranges["lane.generator_lr"].plain() == {"low": 1e-5, "high": 1e-4, "log": True}
    assert space.ranges["structure.loss"].choices == ("hinge", "minimax")
    assert space.base.lane.generator_lr == 1e-4  # was 2e-4: trial 0 has the nearest value inside
    assert space.base.structure.loss == "hinge"
    before = SearchSpace.load("mlp")
    assert {k: v for k, v in space.ranges.items() if k not in ("lane.generator_lr", "structure.loss")} == {
        k: v for k, v in before.ranges.items() if k != "lane.generator_lr"
    }
    last = SweepSpec.from_mapping({"space": "mlp"}, [*typed, "lane.generator_lr=1e-3"]).space
    assert "lane.generator_lr" not in last.ranges
    assert last.base.lane.generator_lr == 1e-3


@pytest.mark.parametrize(
    ("name", "written", "base"),
    [
        ("lane.beta1", "{low: 0.0, high: 0.5}", 0.5),
        ("lane.beta1", "{low: 0.85, high: 0.95}", 0.9),
        ("lane.beta1", "{choices: [0.1, 0.8, 0.3]}", 0.8),
        ("lane.beta1", "{low: 0.0, high: 0.6, step: 0.25}", None),
        ("lane.discriminator_steps", "{low: 2, high: 4}", 2),
        ("structure.batch_size", "{low: 10, high: 90, step: 20}", 70),
        ("lane.ema_half_life_images", "{every: [10, 20]}", 10.0),
        ("lane.discriminator_lr", "{ratio_to: lane.generator_lr, low: 0.5, high: 2}", 2e-4),
    ],
)
def test_trial_0_has_the_value_nearest_to_the_base_in_a_range_that_was_typed(name, written, base):
    assignment = [f"{name}={written}"]
    if base is None:
        with pytest.raises(InputError, match="a whole number of steps"):
            SweepSpec.from_mapping({"space": "mlp"}, assignment)
        return
    assert SweepSpec.from_mapping({"space": "mlp"}, assignment).space.base.flatten()[name] == base


def test_names_of_files_in_a_file_are_looked_for_beside_it_and_a_run_keeps_them_from_the_root(tmp_path, monkeypatch):
    (tmp_path / "specs" / "more" / "pictures").mkdir(parents=True)
    (tmp_path / "specs" / "data").mkdir()
    (tmp_path / "specs" / "net.pt").write_text("")
    (tmp_path / "specs" / "a.yaml").write_text("space: more/b.yaml\ndata_root: data\nscoring: {features: net.pt}\n")
    own = "base: {structure.dataset: 'images:pictures', structure.image_size_pixels: 8}"
    (tmp_path / "specs" / "more" / "b.yaml").write_text(f"extends: c.yaml\n{own}\n")
    (tmp_path / "specs" / "more" / "c.yaml").write_text("extends: mlp\n")
    monkeypatch.chdir(tmp_path)
    spec = SweepSpec.from_yaml("specs/a.yaml")
    assert (spec.data_root, spec.scoring.features) == ("specs/data", "specs/net.pt")
    assert spec.space.base.structure.dataset == "images:specs/more/pictures"
    placed = spec.placed()
    assert placed.data_root == str(tmp_path / "specs" / "data")
    assert placed.scoring.features == str(tmp_path / "specs" / "net.pt")
    assert placed.space.base.structure.dataset == f"images:{tmp_path}/specs/more/pictures"
    assert placed.placed() == placed
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "spec.yaml").write_text(placed.to_yaml())
    monkeypatch.chdir("/")
    assert SweepSpec.from_yaml(tmp_path / "run" / "spec.yaml") == placed
    monkeypatch.chdir(tmp_path / "specs" / "more")
    typed = SweepSpec.from_yaml("../a.yaml", ["space=b.yaml"])  # what is typed is looked for from where one stands
    assert typed.placed().space == placed.space
    with pytest.raises(InputError, match="cannot read c.yaml: it is neither in /"):
        SearchSpace.load({"extends": "c.yaml"}, Path("/"), ()) if Path("c.yaml").rename("d.yaml") else None


def test_files_that_extend_each_other_in_a_circle_are_refused_whatever_they_are_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("extends: ./b.yaml\n")
    Path("b.yaml").write_text(f"extends: {tmp_path}/../{tmp_path.name}/a.yaml\n")
    with pytest.raises(InputError, match="extends itself, by way of"):
        SearchSpace.load("a.yaml")


MANY = list(range(1, MOST_CHOICES))
CHAINED = ("lane.discriminator_steps", "lane.generator_steps", "structure.latent_size", "structure.batch_size")


def chain(values_of: list[int]) -> dict:
    """Ranges of 999 choices, each with conditions on all earlier ones."""
    return {
        name: {"choices": MANY, **({"when": {above: values_of for above in CHAINED[:place]}} if place else {})}
        for place, name in enumerate(CHAINED)
    }


@pytest.mark.parametrize("values", [MANY, MANY[::2]], ids=["all", "every other"])
def test_a_space_of_many_conditional_choices_is_looked_through(values, monkeypatch):
    space = SearchSpace.load({"base": {"structure.batch_size": 65}, "ranges": chain(values)})
    assert [len(space.ranges[name].choices) for name in CHAINED] == [999] * 4
    monkeypatch.setattr(dependencies, "MOST_WORLDS", 10)
    with pytest.raises(InputError, match=r"can come out in \d+ ways, and at most 10 are looked at; most are above"):
        SearchSpace.load({"base": {"structure.batch_size": 65}, "ranges": chain(values)})


@pytest.mark.parametrize(
    ("space", "says"),
    [
        (
            {"ranges": {"lane.beta1": {"choices": [n / 2000 for n in range(MOST_CHOICES + 1)]}}},
            "choices .* 1,001 values",
        ),
        (
            {
                "ranges": {
                    "lane.beta1": {"low": 0, "high": 0.9, "when": {"structure.batch_size": [*MANY, 999, 1000, 1001]}}
                }
            },
            "when .* 1,002 values",
        ),
        ({"constraints": ["lane.beta1 <= 1"] * (MOST_CONSTRAINTS + 1)}, "1,001 constraints"),
    ],
)
def test_a_space_of_more_than_a_person_writes_is_refused_with_the_number(space, says):
    with pytest.raises(InputError, match=says):
        SearchSpace.load(space)


@pytest.mark.parametrize("name", sorted(name for name in COMBINED if HYPERPARAMETERS[name].kind is not str))
def test_of_a_number_combinations_ask_whether_it_is_0_or_1_or_its_default(name):
    """The assumption by which `dependencies.typical_draws` represents many values by one."""
    known = HYPERPARAMETERS[name]
    values = [
        known.kind(value) for value in (2, 3, 7, 0.3, 0.05) if known.low <= known.kind(value) <= min(known.high, 1e9)
    ]
    others = [value for value in values if value not in (0, 1, known.default) and value < known.below]
    assert len(others) >= 2
    for structure in ("mlp", "mlp_bn", "cgan", "dcgan", "infogan", "mlp_dropout"):
        base = GanConfig().flatten() | {"structure.architecture": structure, "structure.dataset": "mnist"}
        base |= {"structure.categorical_codes": 10} if structure == "infogan" else {}
        answers = {_makes_sense(base | {name: parse_value(name, value)}) for value in others}
        assert len(answers) == 1, structure


def _makes_sense(values: dict) -> bool:
    try:
        GanConfig.unflatten(values)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([1, 2.5, "a"], "[1, 2.5, 'a']"),
        ({"a": None, "b": (1,)}, "{'a': None, 'b': (1,)}"),
        ([[[[1]]]], "[[[...]]]"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...]"),
        (10**5000, "a number of more than 40 digits"),
        ("x" * 300, f"'{'x' * 146}...{'x' * 49}'"),
    ],
    ids=["list", "mapping", "deep", "many", "large", "long"],
)
def test_a_value_is_shown_as_python_writes_it_in_what_a_line_has_room_for(value, text):
    assert shown(value) == text
    assert len(shown(value)) <= 202

"""Spaces of a person's own networks: the arguments of their constructors are hyperparameters."""

import textwrap

import pytest
import yaml

from gan_core.config.gan import GanConfig
from gan_core.config.input_error import InputError
from gan_core.config.structure import OF_OUR_LAYERS
from gan_core.files.own_arguments import signature_of
from search_spaces.describe import describe_space
from search_spaces.space import SearchSpace
from sweep.spec.sweep_spec import SweepSpec

MODULE = """
    from typing import Literal


    class Generator:
        def __init__(self, width: int = 64, slope: float = 0, norm: Literal["batch", "none"] = "batch", deep=False,
                     latent_size: int = 100, image_shape=(1, 8, 8), channels: tuple = (1, 2), flag: bool = True,
                     hidden: int | None = None, *args): ...


    class Discriminator:
        def __init__(self, width: int = 32): ...
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_SWEEP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(textwrap.dedent(MODULE))
    return tmp_path


def space_of(folder, base=(), **ranges) -> SearchSpace:
    values = {"base": {"structure.networks": "mine.py", **dict(base)}, "ranges": ranges}
    return SearchSpace.load(values, folder)


def test_the_base_has_every_typed_argument_with_its_default(folder):
    base = space_of(folder).base
    assert base.structure.architecture == "own"
    assert dict(base.structure.generator) == {"width": 64, "slope": 0.0, "norm": "batch", "deep": False, "flag": True}
    assert dict(base.structure.discriminator) == {"width": 32}
    assert type(base.structure.generator["slope"]) is float
    assert GanConfig.unflatten(base.flatten()) == base
    assert hash(base) == hash(GanConfig.unflatten(dict(reversed(base.flatten().items()))))


def test_ranges_have_the_types_of_the_constructor_and_are_drawn(folder):
    space = space_of(
        folder,
        **{
            "generator.width": {"choices": [32, 64]},
            "generator.slope": {"low": 0, "high": 1},
            "generator.deep": {"choices": [True, False]},
            "discriminator.width": {"low": 8, "high": 64, "log": True},
            "lane.beta1": {"low": 0.0, "high": 0.9, "when": {"generator.norm": "batch"}},
            "generator.norm": {"choices": ["batch", "none"]},
        },
    )
    kinds = {name: type(one).__name__ for name, one in space.distributions().items()}
    assert kinds == {
        "generator.norm": "CategoricalDistribution",
        "lane.beta1": "FloatDistribution",
        "generator.width": "CategoricalDistribution",
        "generator.slope": "FloatDistribution",
        "generator.deep": "CategoricalDistribution",
        "discriminator.width": "IntDistribution",
    }
    drawn = {"generator.width": 32, "generator.slope": 0.5, "discriminator.width": 16, "generator.norm": "none"}
    config = space.configuration(drawn, seed=3)
    assert (config.structure.generator["width"], config.structure.discriminator["width"]) == (32, 16)
    assert space.parameters_of(config.flatten()) == {**drawn, "generator.deep": False}
    again = SearchSpace.load(yaml.safe_load(yaml.safe_dump(space.plain())))
    assert again == space
    assert "generator.slope" in describe_space(space)


def test_assignments_reach_own_arguments_and_other_networks_have_others(folder):
    (folder / "other.py").write_text(
        "class Generator: ...\n\n\nclass Discriminator:\n    def __init__(self, depth=2): ...\n"
    )
    space = space_of(folder, **{"generator.width": {"choices": [32, 64]}})
    assert dict(space.fix({"generator.width": "32"}).base.structure.generator)["width"] == 32
    assert space.fix({"generator.width": 32}).ranges == {}
    other = SearchSpace.load(
        {
            "extends": {
                "base": {"structure.networks": "mine.py"},
                "ranges": {"generator.width": {"choices": [32, 64]}},
            },
            "base": {"structure.networks": "other.py"},
        },
        folder,
    )
    assert dict(other.base.structure.discriminator) == {"depth": 2}
    assert (other.ranges, other.base.structure.generator) == ({}, {})
    ours = space.fix({"structure.networks": ""})
    assert ours.base == GanConfig()
    assert ours.ranges == {}


def test_code_that_an_assignment_replaces_is_not_read(folder):
    lost = {"structure.networks": "lost.py", "structure.dataset": "lost.py:data"}
    below = {
        "extends": {"base": lost},
        "base": {"generator.width": 16},
        "ranges": {"generator.slope": {"choices": [0, 1]}},
    }
    values = {"space": below, "objective": "lost.py:score", "train": "lost.py:Trainer"}
    assigned = [
        f"structure.networks={folder / 'mine.py'}",
        "structure.dataset=digits",
        "objective=fid",
        ("train", None),
    ]
    spec = SweepSpec.from_mapping(values, assigned, folder)
    assert dict(spec.space.base.structure.generator)["width"] == 16
    assert list(spec.space.ranges) == ["generator.slope"]
    with pytest.raises(InputError, match=r"cannot read '.*lost\.py': No such file"):
        SweepSpec.from_mapping(values, assigned[1:], folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("precision", "tf32"), ("execution", "eager"), ("lanes_per_call", 2), ("data_root", "data")),
        *(("skip_corrupt_images", True), ("scoring", {"samples": 200}), ("health", {"won_loss": 0.1})),
    ],
)
def test_settings_of_gans_are_refused_beside_a_training_of_ones_own(folder, key, value):
    with pytest.raises(InputError, match=f"{key} is of GANs, and has no effect on your own training; take it out"):
        SweepSpec.from_mapping({"train": "mine.py:Generator", key: value}, folder=folder)
    spec = SweepSpec.from_mapping({"train": "mine.py:Generator"}, folder=folder)
    assert SweepSpec.from_mapping(yaml.safe_load(spec.to_yaml())) == spec


def test_a_shipped_space_gives_own_networks_its_rates_and_nothing_of_its_layers(folder):
    shipped = SearchSpace.load("infogan")
    space = SearchSpace.load({"extends": "infogan", "base": {"structure.networks": "mine.py"}}, folder)
    base = space.base.flatten()
    assert {"lane.generator_lr", "lane.beta1"} <= set(space.ranges) < set(shipped.ranges)
    assert base["lane.beta1"] == shipped.base.lane.beta1 != GanConfig().lane.beta1
    assert not set(OF_OUR_LAYERS) & {*base, *space.ranges}


def test_constraints_compare_own_arguments(folder):
    values = {"base": {"structure.networks": "mine.py"}, "ranges": {"generator.width": {"choices": [16, 64]}}}
    both = {"constraints": ["generator.width >= 2 * discriminator.width", 'generator.norm == "batch"']}
    space = SearchSpace.load({**values, **both}, folder)
    assert list(space.violations(space.configuration({"generator.width": 16}, 0))) == [both["constraints"][0]]
    broken = space.configuration({"generator.width": 64}, 0)
    assert list(space.violations(broken)) == []
    with pytest.raises(InputError, match=r"generator\.depth is no hyperparameter of your own networks"):
        SearchSpace.load({**values, "constraints": ["generator.depth > 1"]}, folder)
    with pytest.raises(InputError, match="the base breaks the constraint"):
        SearchSpace.load({**values, "constraints": ["generator.norm + 1 > 0"]}, folder)


@pytest.mark.parametrize(
    ("base", "ranges", "says"),
    [
        ({"generator.wdth": 3}, {}, r"Generator has no argument 'wdth'; did you mean 'width'\?"),
        (
            {"generator.width": "wide"},
            {},
            "generator.width must be a whole number, as its constructor says, got 'wide'",
        ),
        ({"generator.slope": True}, {}, "generator.slope must be a number, as its constructor says, got True"),
        ({"generator.flag": 1}, {}, "generator.flag must be true or false, as its constructor says, got 1"),
        ({"generator.norm": "layer"}, {}, "generator.norm must be one of batch, none, as its constructor says"),
        ({"generator.latent_size": 8}, {}, "generator.latent_size is passed by the sweep, from structure.latent_size"),
        ({}, {"generator.width": {"low": 8, "high": 64.5}}, "generator.width must be a whole number"),
        ({}, {"generator.norm": {"low": 0, "high": 1}}, "generator.norm must be one of batch, none"),
        ({"generator.deep": None}, {}, "generator.deep must be a number, a text, true or false, got None"),
        ({}, {"generator.hidden": {"choices": [None, 1]}}, "the range of generator.hidden must be of values, got null"),
        ({}, {"structure.generator_width": {"choices": [8]}}, "structure.generator_width is no hyperparameter of your"),
        ({}, {"lane.batch_norm_eps": {"low": 0.1, "high": 0.2}}, "lane.batch_norm_eps is no hyperparameter of your"),
        (
            {},
            {"lane.beta1": {"low": 0.1, "high": 0.2, "when": {"structure.discriminator_norm": "none"}}},
            "structure.discriminator_norm is no hyperparameter of your own networks; take out the range, condition",
        ),
        ({}, {"structure.networks": {"choices": ["mine.py"]}}, "structure.networks cannot be searched"),
        ({"structure.generator_width": 8}, {}, "structure.generator_width has no effect on your own networks, got 8"),
        ({"structure.discriminator_norm": "none"}, {}, "structure.discriminator_norm has no effect"),
        ({"structure.architecture": "mlp"}, {}, "structure.architecture 'own' goes with structure.networks"),
        ({"lane.generator_dropout": 0.5}, {}, "lane.generator_dropout needs architecture 'mlp_dropout'"),
    ],
)
def test_what_the_constructors_do_not_take_is_refused_in_one_line(folder, base, ranges, says):
    with pytest.raises(InputError, match=says) as refusal:
        space_of(folder, base, **ranges)
    assert "\n" not in str(refusal.value)


def test_an_argument_without_a_type_takes_what_the_base_gives(folder):
    (folder / "mine.py").write_text("class Generator:\n    def __init__(self, ngpu): ...\nclass Discriminator: ...\n")
    assert dict(space_of(folder, {"generator.ngpu": 1}).base.structure.generator) == {"ngpu": 1}
    with pytest.raises(InputError, match=r"generator\.ngpu has no default in the constructor of Generator"):
        space_of(folder)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("class Generator: ...\n", "mine.py has no 'Discriminator'"),
        ("def Generator(): ...\nclass Discriminator: ...\n", "Generator in mine.py must be a class"),
        (
            "class Generator:\n    def __init__(self, depth: int): ...\nclass Discriminator: ...\n",
            "generator.depth has no default in the constructor of Generator; give it a value",
        ),
    ],
)
def test_classes_that_cannot_be_used_are_named(folder, source, says):
    (folder / "mine.py").write_text(source)
    with pytest.raises(InputError, match=says):
        space_of(folder)


def test_own_arguments_need_own_networks():
    with pytest.raises(
        InputError, match=r"generator\.width is an argument of your own networks, got architecture 'mlp'"
    ):
        SearchSpace.load({"base": {"generator.width": 3}})
    with pytest.raises(InputError, match=r"generator\.width must be a number, a text, true or false, got \[3\]"):
        GanConfig.unflatten({"generator.width": [3], "structure.networks": "m.py", "structure.architecture": "own"})


def test_annotations_that_are_texts_and_names_that_do_not_exist_are_read():
    def constructor(width: "int" = 1, net: "Absent" = None, *, slope: "float" = 0.5): ...  # noqa: F821 # pyright: ignore[reportUndefinedVariable]

    known = signature_of("Generator", constructor).arguments
    assert {name: one.types for name, one in known.items()} == {"width": (int,), "net": (), "slope": (float,)}


ARGUMENTS = """
    from __future__ import annotations
    import numpy as np
    from typing import Annotated, Any, Literal, Optional, Union


    class Generator:
        def __init__(self, a: Optional[int] = None, b: int | None = 3, c: "Union[int, float]" = 1,
                     d: Literal[1, "x"] = 1, e: Annotated[int, "units"] = 2, f=float("inf"),
                     g: float = np.float32(0.5), h=np.int64(7),
                     i: tuple[int, ...] = (1, 2), j: int = 0.5, k: Any = "k", l: float | Literal["auto"] = 2,
                     m: list | None = None, *args, n, o: bool | str = False, **others): ...


    class Discriminator:
        def __init__(self, q=1, /, r=0): ...
"""


def test_all_kinds_of_arguments_take_what_their_annotations_allow_and_have_their_plain_defaults(folder):
    (folder / "mine.py").write_text(textwrap.dedent(ARGUMENTS))
    base = space_of(folder, {"generator.n": 5}).base.structure
    plain = {"b": 3, "c": 1, "d": 1, "e": 2, "g": 0.5, "h": 7, "j": 0.5, "k": "k", "l": 2.0, "n": 5, "o": False}
    assert dict(base.generator) == plain
    assert {type(base.generator[name]) for name in "bh"} == {int}
    assert {type(base.generator[name]) for name in "gl"} == {float}
    assert dict(base.discriminator) == {"r": 0}
    taken = {"a": 4, "b": 1e2, "c": "1e-3", "d": "x", "f": 3, "i": 9, "l": "auto", "m": "m", "o": "o", "p": 0.25}
    given = space_of(folder, {f"generator.{name}": value for name, value in {**taken, "n": 5}.items()}).base
    assert dict(given.structure.generator) == {**plain, **taken, "c": 0.001, "b": 100}
    with pytest.raises(
        InputError, match=r"generator\.l must be a number or one of auto, as its constructor says, got 'x'"
    ):
        space_of(folder, {"generator.l": "x", "generator.n": 5})
    with pytest.raises(
        InputError, match=r"generator\.a must be a whole number or null, as its constructor says, got 'x'"
    ):
        space_of(folder, {"generator.a": "x", "generator.n": 5})
    with pytest.raises(InputError, match="Discriminator has no argument 'q'; known: r"):
        space_of(folder, {"generator.n": 5, "discriminator.q": 3})


def test_a_range_gives_a_value_where_the_constructor_has_none_and_null_leaves_it_to_the_constructor(folder):
    values = {"base": {"structure.networks": "mine.py", "generator.hidden": 4, "generator.channels": 3}}
    ranges = {"generator.hidden": {"choices": [16, 32]}, "generator.channels": {"low": 2, "high": 6}}
    assert dict(space_of(folder, **ranges).base.structure.generator)["hidden"] == 16
    assert dict(space_of(folder, **ranges).base.structure.generator)["channels"] == 4
    below = SearchSpace.load({"extends": values, "base": {"generator.hidden": None}}, folder)
    assert "hidden" not in below.base.structure.generator
    assert below.base.structure.generator["channels"] == 3


def test_where_nothing_is_declared_the_values_say_what_the_type_is(folder):
    (folder / "mine.py").write_text("class Generator:\n    def __init__(self, p=0): ...\nclass Discriminator: ...\n")
    space = space_of(folder, **{"generator.p": {"low": 0, "high": 0.5}})
    assert type(space.distributions()["generator.p"]).__name__ == "FloatDistribution"
    texts = space_of(folder, {"generator.p": "a"}, **{"generator.p": {"choices": ["a", 2]}})
    assert texts.ranges["generator.p"].choices == ("a", 2)
    with pytest.raises(InputError, match=r"the base value 'a' of generator\.p lies outside its range 0 \.\. 1"):
        space_of(folder, {"generator.p": "a"}, **{"generator.p": {"low": 0, "high": 1}})
    assert texts.fix({}, {"generator.p": {"low": 1, "high": 2}}).base.structure.generator["p"] == 1


@pytest.mark.parametrize(
    ("networks", "says"),
    [
        (3, "structure.networks must be FILE.py or package.module, with :NAME where one is needed, got 3"),
        (None, "structure.networks must be FILE.py or package.module, with :NAME where one is needed, got None"),
        ("mine", "structure.networks must be FILE.py or package.module, with :NAME where one is needed, got 'mine'"),
        (["a"], r"structure.networks must be FILE.py, or two classes, Generator and Discriminator, got \['a'\]"),
        ("mine.py:Generator", "structure.networks must name a file or a module, .* leave :Generator out"),
    ],
)
def test_networks_that_are_no_file_are_refused_whatever_else_is_written(folder, networks, says):
    with pytest.raises(InputError, match=says):
        space_of(folder, {"structure.networks": networks}, **{"generator.width": {"choices": [32, 64]}})


def test_an_argument_that_can_be_given_by_place_alone_is_refused(folder):
    (folder / "mine.py").write_text("class Generator:\n    def __init__(self, n, /): ...\nclass Discriminator: ...\n")
    with pytest.raises(InputError, match="argument 'n' of Generator can be given by place alone; take out the / after"):
        space_of(folder)


def test_a_spec_carries_the_code_and_says_what_has_changed(folder):
    (folder / "spec.yaml").write_text("space: {base: {structure.networks: mine.py}}\n")
    spec = SweepSpec.from_yaml(folder / "spec.yaml")
    (code,) = spec.code
    assert spec.conditions().code == (code,)
    assert "class Generator:\n" in spec.to_yaml()  # as lines that a reader can read
    assert SweepSpec.from_mapping(yaml.safe_load(spec.to_yaml())) == spec
    with (folder / "mine.py").open("a") as file:
        file.write("# a change\n")
    changed = SweepSpec.from_yaml(folder / "spec.yaml")
    assert spec.differences(changed) == ["space.base.structure.networks (mine.py has changed)"]

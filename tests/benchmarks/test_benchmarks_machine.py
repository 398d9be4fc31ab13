"""`--isa` of the benchmarks holds our kernels and torch to one instruction set; tables say what they were made on."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest
import torch

from benchmarks import products
from benchmarks.contestants import Model, config_of, dataset_of
from benchmarks.lanes import parsed
from benchmarks.machine import LIBRARY_SETTINGS, ROOT, cores, library_settings, machine, set_isa
from gan_core.config.input_error import InputError
from gan_core.native.arithmetic import processor_name
from gan_core.native.isa import ISAS, VARIABLE, executable_isas

BELOW = [isa.name for isa in executable_isas()[1:] if isa.name in LIBRARY_SETTINGS]
NAMES = {VARIABLE, *(name for settings in LIBRARY_SETTINGS.values() for name in settings)}
AN_OTHER_MACHINES = "neon" if platform.machine() in ISAS["avx2"].machines else "avx2"


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    for name in NAMES:
        os.environ.pop(name, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.skipif(not BELOW, reason="no instruction set below this processor's best that torch can be held to")
def test_torch_is_held_to_an_instruction_set_below_the_best():
    command = f"from benchmarks.machine import set_isa; set_isa({BELOW[-1]!r}); import torch; "
    command += "print(torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [LIBRARY_SETTINGS[BELOW[-1]]["ATEN_CPU_CAPABILITY"].upper()]


def test_the_best_instruction_set_leaves_torch_as_it_is():
    set_isa(executable_isas()[0].name if executable_isas() else None)
    assert library_settings() == {}
    assert not (NAMES - {VARIABLE}) & set(os.environ)


@pytest.mark.parametrize("name", BELOW)
def test_what_is_held_is_said(name: str):
    set_isa(name)
    assert os.environ[VARIABLE] == name
    held = " ".join(f"{setting}={value}" for setting, value in LIBRARY_SETTINGS[name].items())
    assert machine().splitlines()[2].partition(";")[0] == f"torch is held to it by {held}"


def test_a_table_says_what_it_was_measured_on():
    when, where = machine(("torch", "optuna")).splitlines()
    assert f"torch {torch.__version__.partition('+')[0]}" in when
    assert "optuna 5" in when
    assert ", commit " in when
    assert where.startswith(f"{cores()} cores, {processor_name()}; isa ")
    assert processor_name()


@pytest.mark.parametrize("asked", ["avx", AN_OTHER_MACHINES])
def test_an_instruction_set_that_cannot_be_is_refused_in_one_line(asked: str, capsys: pytest.CaptureFixture[str]):
    before = executable_isas()[0].name if executable_isas() else ""
    os.environ[VARIABLE] = before
    with pytest.raises(InputError, match=asked):
        set_isa(asked)
    for main in (products.main, parsed):
        with pytest.raises(SystemExit) as stop:
            main(["--isa", asked])
        assert stop.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert os.environ[VARIABLE] == before


def test_lanes_takes_an_execution_for_ours_alone():
    plan = parsed(["--execution", "replayed", "--models", "gaussian"])
    assert (plan.setting.execution, plan.setting.precision, plan.models) == ("replayed", "float32", ("gaussian",))
    assert list(plan.contestants) == ["stock", "strong", "ours"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--models", "mlp63"], "did you mean 'mlp64'?"),
        (["--processes", "0"], "--processes must be at least 1, got 0"),
        (["--json", "nowhere/lanes.json"], "a folder that does not exist: nowhere/lanes.json"),
        (["--repeats", "0"], "--repeats at least 1, got 0.4 and 0"),
    ],
)
def test_what_lanes_cannot_do_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        parsed(arguments)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_lanes_are_fewer_where_a_step_takes_long_and_one_where_they_are_called_alone():
    dataset = dataset_of(config_of("mlp64"), None)
    lanes = {flops: Model("mlp64", dataset, flops).lanes for flops in (10**6, 10**8, 10**8 + 1, 10**9)}
    assert lanes == {10**6: (32, 32), 10**8: (8, 8), 10**8 + 1: (4, 4), 10**9: (2, 2)}
    alone = Model("dcgan16", dataset, 10**9)
    assert alone.lanes == (1, 1)
    plan = parsed(["--processes", "2"])
    assert list(plan.turns(alone)) == ["peak", "stock", "strong"]
    assert list(plan.turns(Model("mlp64", dataset, 10**8))) == ["peak", "stock", "strong", "ours"]


@pytest.mark.parametrize("layout", products.LAYOUTS)
def test_products_of_every_layout_are_torchs(layout: str):
    a, b = products.operands((5, 3, 7), layout)
    out = torch.empty(5, 7)
    products.ours(a, b, out)(2)
    torch.testing.assert_close(out, a @ b)
    figures = products.measure((5, 3, 7), layout, seconds=1e-4, repeats=1)
    assert figures.operations == 2 * 5 * 3 * 7
    assert len(figures.cells()) == len(products.COLUMNS) - 2


def test_sides_that_disagree_are_not_compared(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(products, "stock", lambda a, b, out: lambda times: out.copy_(a @ b + 1))
    with pytest.raises(ArithmeticError, match=r"a @ b of \(5, 3, 7\): ours and torch.mm differ by"):
        products.measure((5, 3, 7), "a @ b", seconds=1e-4, repeats=1)


def test_rates_are_of_one_product_and_take_off_what_a_call_costs():
    figures = products.Figures(operations=4_000, ours=1e-6, torch=3e-6, call=1e-6)
    assert figures.cells() == ["4.0", "1.3", "3.00", "2.0", "2.00"]


def test_contestants_take_turns_and_the_median_is_taken():
    turns: list[str] = []
    racers = [partial(lambda name, times: turns.append(name), name) for name in ("ours", "torch")]
    times = products.medians(racers, seconds=1e-9, repeats=3)
    assert turns[-6:] == ["ours", "torch"] * 3
    assert all(seconds >= 0 for seconds in times)

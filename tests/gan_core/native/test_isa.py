"""Instruction sets: which one kernels are made for, and what is said where there is none."""

import platform

import pytest

from gan_core.config.input_error import InputError
from gan_core.native import isa as isas
from gan_core.native.compiler import target
from gan_core.native.isa import ISAS, VARIABLE, executable_isas, this_isa
from gan_core.native.toolchain import NoCompiler


@pytest.fixture
def features(monkeypatch: pytest.MonkeyPatch):
    """Sets what the processor says of itself."""

    def set_to(machine: str, *isa_names: str) -> None:
        said = frozenset().union(*(ISAS[name].needs for name in isa_names))
        monkeypatch.delenv(VARIABLE, raising=False)
        monkeypatch.setattr(platform, "machine", lambda: machine)
        monkeypatch.setattr(isas, "_processor_features", lambda: said)

    return set_to


@pytest.mark.parametrize(
    ("machine", "best", "executable"),
    [
        ("x86_64", "avx512_bf16", ["avx512_bf16", "avx512", "avx2", "x86_64_v2"]),
        ("x86_64", "avx512", ["avx512", "avx2", "x86_64_v2"]),
        ("x86_64", "avx2", ["avx2", "x86_64_v2"]),
        ("x86_64", "x86_64_v2", ["x86_64_v2"]),
        ("aarch64", "neon", ["neon"]),
        ("arm64", "neon", ["neon"]),
    ],
)
def test_the_best_that_a_processor_can_execute_is_taken(features, machine: str, best: str, executable: list[str]):
    features(machine, best)
    assert [isa.name for isa in executable_isas()] == executable
    assert this_isa() is ISAS[best]


@pytest.mark.parametrize("machine", ["x86_64", "riscv64", "ppc64le"])
def test_a_processor_without_kernels_has_no_target(features, machine: str):
    features(machine)
    assert this_isa() is None
    with pytest.raises(NoCompiler, match=rf"no kernels are written for this processor \({machine}\)"):
        target()


def test_another_is_taken_where_the_variable_names_it(features, monkeypatch: pytest.MonkeyPatch):
    features("x86_64", "avx512")
    monkeypatch.setenv(VARIABLE, "avx2")
    assert target() is ISAS["avx2"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("avx3", "unknown GAN_SWEEP_ISA 'avx3'; did you mean 'avx2'?"),
        ("neon", "GAN_SWEEP_ISA is 'neon', and this processor cannot execute it; it can: avx2, x86_64_v2"),
    ],
)
def test_a_wrong_name_is_refused(features, monkeypatch: pytest.MonkeyPatch, asked: str, says: str):
    features("x86_64", "avx2")
    monkeypatch.setenv(VARIABLE, asked)
    with pytest.raises(InputError) as raised:
        this_isa()
    assert str(raised.value) == says


@pytest.mark.parametrize("isa", ISAS.values(), ids=lambda isa: isa.name)
def test_what_kernels_are_written_with_fits_the_registers(isa: isas.Isa):
    """A vector is a power of two, and whole vectors are the least that hold so many numbers."""
    assert isa.width * 4 == isa.vector_bytes
    assert isa.vector_bytes in (16, 32, 64)
    for numbers in (1, isa.width - 1, isa.width, isa.width + 1):
        whole = isa.whole(numbers)
        assert whole % isa.width == 0
        assert numbers <= whole < numbers + isa.width
    assert f"#define WIDTH {isa.width}\n" in isa.text()
    assert ("HAS_FMA" in isa.text()) is isa.fma

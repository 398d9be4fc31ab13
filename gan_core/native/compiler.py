"""From C text to a library, by the machine's C compiler; libraries are kept between runs.

Loads without torch: the functions that multiply serve every structure and can be compiled before training begins.
"""

import ctypes
import platform
from importlib.resources import files
from pathlib import Path

from gan_core.native.isa import Isa, this_isa
from gan_core.native.kept import load
from gan_core.native.kernels.convolutions import MAP, convolutions_text
from gan_core.native.kernels.products import products_text, rounded_products_text
from gan_core.native.kernels.winograd import winograd_text
from gan_core.native.mirrored import layouts_text
from gan_core.native.toolchain import NoCompiler, Toolchain, tell, working_toolchain

FLAGS = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fopenmp-simd",
    "-shared",
    "-fPIC",
]
SINGLE, DOUBLE = "#define SINGLE\n#define T float\n", "#define T double\n"  # the first lines of a text
PRODUCT, CONVOLUTIONS = "product", ("convolve", "convolve_transposed", "convolution_weight")
PRODUCT_ONTO = "product_onto"  # a second function of the product's library
ROUNDED = {name: f"rounded_{name}" for name in (PRODUCT, *CONVOLUTIONS)}  # with factors rounded to bfloat16
WINOGRAD = {name: f"winograd_{name}" for name in CONVOLUTIONS}  # with fewer multiplications, built on products
MULTIPLYING = (*ROUNDED, *ROUNDED.values(), *WINOGRAD.values())


def multiplying_text(name: str) -> tuple[str, list[str]]:
    """The text and the additional flags of the library that holds this function of MULTIPLYING. Raises NoCompiler.

    Only these libraries may fuse a multiplication with an addition. Elementwise arithmetic is rounded after every
    operation, as in torch, so that for instance a factor of 1 changes no bit.
    """
    isa, vectors = target(), header("vectors.h")
    if name == PRODUCT:
        text = products_text(isa, vectors, header("packing.h"), header("products.h"))
    elif name == ROUNDED[PRODUCT]:
        text = rounded_products_text(isa, vectors, header("rounding.h"), header("rounded_products.h"))
    elif name in WINOGRAD.values():
        text = MAP + winograd_text(vectors, header("winograd.h"), header("packing.h"))
    elif name in CONVOLUTIONS:
        text = MAP + convolutions_text(isa, vectors, header("convolutions.h"))
    else:
        renamed = "".join(f"#define {of_numbers} {ROUNDED[of_numbers]}\n" for of_numbers in CONVOLUTIONS)
        text = renamed + MAP + convolutions_text(isa, vectors, header("convolutions.h"), header("rounding.h"))
    return text, ["-ffp-contract=fast"]


def over_lane_header(text: str) -> str:
    """A text that is written with what `lane.h` defines, whole but for its number type. It exports the layouts of its
    structures (`gan_core.native.mirrored`).
    """
    whole = MAP + header("lane.h") + text
    return whole + layouts_text(whole)


def make_common_libraries(*, convolutions: bool, rounded: bool) -> None:
    """Compiles the float32 libraries that sweeps of any structure need, where they are missing, in some seconds of a
    core. convolutions: also those of convolutions; rounded: also those in bfloat16, where the processor supports it.
    Does nothing where there is no compiler.
    """
    names = [PRODUCT, *CONVOLUTIONS[: int(convolutions)]]
    try:
        if rounded and target().bfloat16_pairs:
            names += [ROUNDED[name] for name in names]
        names += [WINOGRAD[name] for name in names if name in WINOGRAD]
        for name in names:
            text, flags = multiplying_text(name)
            library_file(SINGLE + text, *flags)
        library_file(SINGLE + over_lane_header(header("pairs.h")))
    except NoCompiler:  # a compiler may fail to start while a thread of Ray changes the environment
        return  # if the problem persists, it is reported when something is trained


def target() -> Isa:
    """The instruction set that kernels are compiled for. Raises NoCompiler for a processor without kernels."""
    isa = this_isa()
    if isa is None:
        raise NoCompiler(f"no kernels are written for this processor ({platform.machine()}), or it is not known")
    return isa


def header(name: str) -> str:
    """The text of a C header among the kernels."""
    return files("gan_core.native.kernels").joinpath(name).read_text()


def library_file(text: str, *flags: str) -> Path:
    """The library of a text that begins with SINGLE or DOUBLE, compiled once on a machine. Raises NoCompiler."""
    toolchain, isa = compiler(), target()
    try:
        return toolchain.library(isa.text() + text, [*FLAGS, *isa.flags, *flags])
    except OSError as error:
        raise NoCompiler(f"programs cannot be kept in {toolchain.folder} ({error.strerror or error})") from error


def loaded_library(text: str, *flags: str) -> ctypes.CDLL:
    """Compiles a text if needed and loads the library for the lifetime of this process. Raises NoCompiler. Warns once
    where the first choice of folder or compiler does not work.
    """
    library = library_file(text, *flags)
    if trouble := compiler().trouble:
        tell(trouble)
    try:
        return load(library)
    except OSError as error:
        raise NoCompiler(f"{library} cannot be run ({error.strerror})") from error


def compiler() -> Toolchain:
    """The compiler of this process and its folder. Raises NoCompiler where none works."""
    return working_toolchain((*FLAGS, *target().flags))

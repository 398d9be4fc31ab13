"""C text -> a library, by the machine's C compiler, kept between runs. No torch: the functions that multiply serve
every structure, and can be made before there is anything to train.
"""

import ctypes
import platform
from importlib.resources import files
from pathlib import Path

from gan_core.native.convolutions import MAP, convolutions_text
from gan_core.native.isa import Isa, this_isa
from gan_core.native.kept import load
from gan_core.native.mirrored import layouts_text
from gan_core.native.products import products_text, rounded_products_text
from gan_core.native.toolchain import NoCompiler, Toolchain, tell, working_toolchain
from gan_core.native.winograd import winograd_text

FLAGS = [
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fopenmp-simd",
    "-shared",
    "-fPIC",
]
SINGLE, DOUBLE = "#define SINGLE\n#define T float\n", "#define T double\n"  # what a text begins with
PRODUCT, CONVOLUTIONS = "product", ("convolve", "convolve_transposed", "convolution_weight")
PRODUCT_ONTO = "product_onto"  # beside it in its library
ROUNDED = {name: f"rounded_{name}" for name in (PRODUCT, *CONVOLUTIONS)}  # those of factors rounded to bfloat16
WINOGRAD = {name: f"winograd_{name}" for name in CONVOLUTIONS}  # those with fewer multiplications, made of products
MULTIPLYING = (*ROUNDED, *ROUNDED.values(), *WINOGRAD.values())


def multiplying_text(name: str) -> tuple[str, list[str]]:
    """The text and further flags of the library that holds this one of MULTIPLYING. They alone add to a product without
    rounding that; elementwise arithmetic is rounded call by call, as torch's is: there a factor of 1 changes no bit.
    Raises NoCompiler.
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
    """Makes the libraries that sweeps of any structure need, in float32, where they are not there yet: some seconds of
    a core. convolutions: theirs too; rounded: also those in bfloat16, where the processor has it. Does nothing where
    there is no compiler.
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
    except NoCompiler:  # it may not start while another thread, of Ray, changes the environment
        return  # what stays is said where something is trained


def target() -> Isa:
    """What kernels are made for. Raises NoCompiler where none are written for this processor."""
    isa = this_isa()
    if isa is None:
        raise NoCompiler(f"no kernels are written for this processor ({platform.machine()}), or it is not known")
    return isa


def header(name: str) -> str:
    """The text of a file of C in this folder."""
    return files("gan_core.native").joinpath(name).read_text()


def library_file(text: str, *flags: str) -> Path:
    """The library of a text, which begins with SINGLE or DOUBLE; made once on a machine. Raises NoCompiler."""
    toolchain, isa = compiler(), target()
    try:
        return toolchain.library(isa.text() + text, [*FLAGS, *isa.flags, *flags])
    except OSError as error:
        raise NoCompiler(f"programs cannot be kept in {toolchain.folder} ({error.strerror or error})") from error


def loaded_library(text: str, *flags: str) -> ctypes.CDLL:
    """The same in this process, for good. Raises NoCompiler; tells where its folder, or compiler, is not the first."""
    library = library_file(text, *flags)
    if trouble := compiler().trouble:
        tell(trouble)
    try:
        return load(library)
    except OSError as error:
        raise NoCompiler(f"{library} cannot be run ({error.strerror})") from error


def compiler() -> Toolchain:
    """That of this process. Raises NoCompiler where none works."""
    return working_toolchain((*FLAGS, *target().flags))

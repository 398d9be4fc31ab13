"""A machine without a C compiler, as far as this process can tell."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gan_core.files import cache
from gan_core.lanes import normals
from gan_core.native import library, toolchain


def forget_compiler() -> None:
    """What this process has loaded, which compiler there is, and what was told."""
    found = (library._native_function, library._multiplying, library._library, normals._in_c_for)
    for function in (*found, toolchain._found, toolchain._version, toolchain.told, cache._new_folder):
        function.cache_clear()


@contextmanager
def without_compiler() -> Iterator[None]:
    """Within, none is installed, and nothing is loaded that one made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolchain.shutil, "which", lambda name: None)
        for known in (
            library._native_function,
            library._multiplying,
            library._library,
            toolchain._found,
            toolchain.told,
        ):
            known.cache_clear()
        try:
            yield
        finally:
            toolchain._found.cache_clear()

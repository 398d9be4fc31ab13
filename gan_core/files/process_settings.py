"""Settings of the whole process that a person's own code may change, and that the arithmetic of others depends on."""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def settings_kept() -> Iterator[None]:
    """What is set within this context is as before at its end: the working folder, the filters of warnings, what NumPy
    does about errors, and of torch whether gradients are recorded, the default type and device, the number of threads,
    whether algorithms are deterministic, and the search for anomalies. Where torch is first loaded within it, they are
    as torch has them.
    """
    folder, before = _working_folder(), _torch_settings()
    numpy = sys.modules.get("numpy")
    errors = numpy.geterr() if numpy else {}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        if folder and _working_folder() != folder:
            os.chdir(folder)
        if numpy:
            numpy.seterr(**errors)
        for name, value in _torch_settings().items():
            if before.get(name, value) != value:
                _set(name, before[name])


def _working_folder() -> str:
    """Where this process works; "" where that folder is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _torch_settings() -> Mapping[str, Any]:
    """Name of a function of torch that makes a setting -> what it is now."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "is_anomaly_enabled"):
        return _AS_LOADED
    return {
        "set_grad_enabled": torch.is_grad_enabled(),
        "set_default_dtype": str(torch.get_default_dtype()),
        "set_default_device": str(torch.get_default_device()),
        "set_num_threads": torch.get_num_threads(),
        "set_deterministic_debug_mode": torch.get_deterministic_debug_mode(),
        "set_detect_anomaly": torch.is_anomaly_enabled(),
    }


# Without the number of threads, which is the machine's.
_AS_LOADED: Mapping[str, Any] = {
    "set_grad_enabled": True,
    "set_default_dtype": "torch.float32",
    "set_default_device": "cpu",
    "set_deterministic_debug_mode": 0,
    "set_detect_anomaly": False,
}


def _set(name: str, value: Any) -> None:
    torch = sys.modules["torch"]
    if name == "set_default_dtype":
        value = getattr(torch, value.removeprefix("torch."))
    elif name == "set_default_device" and value == "cpu":
        value = None  # a default device is a mode that sees each call
    getattr(torch.autograd if name == "set_detect_anomaly" else torch, name)(value)

"""What a person's own code sets for the whole process does not reach the code of others."""

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gan_core.files.process_settings import settings_kept

SETTINGS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {  # how it is made, and what is seen of it
    "folder": (lambda: os.chdir("/"), os.getcwd),
    "gradients": (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
    "type": (lambda: torch.set_default_dtype(torch.float64), lambda: torch.empty(0).dtype),
    "device": (lambda: torch.set_default_device("meta"), lambda: torch.empty(0).device),
    "threads": (lambda: torch.set_num_threads(torch.get_num_threads() + 1), torch.get_num_threads),
    "algorithms": (lambda: torch.set_deterministic_debug_mode("warn"), torch.get_deterministic_debug_mode),
    "anomalies": (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    "errors": (lambda: np.seterr(all="raise"), lambda: repr(np.geterr())),
    "warnings": (lambda: warnings.simplefilter("error"), lambda: repr(warnings.filters)),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_as_before_also_after_an_error(name: str):
    make, seen = SETTINGS[name]
    before: Any = seen()
    with pytest.raises(KeyError), settings_kept():
        make()
        assert seen() != before
        raise KeyError
    assert seen() == before


def test_a_working_folder_that_is_gone_stays_gone(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with settings_kept():
        pass
    with pytest.raises(FileNotFoundError):
        os.getcwd()


def test_torch_that_is_first_loaded_is_as_it_loads(monkeypatch: pytest.MonkeyPatch):
    loaded = sys.modules["torch"]
    monkeypatch.delitem(sys.modules, "torch")
    with settings_kept():
        monkeypatch.setitem(sys.modules, "torch", loaded)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_default_device("meta")
    x = torch.ones(1, requires_grad=True) * 2
    assert (x.dtype, x.device.type, x.requires_grad) == (torch.float32, "cpu", True)

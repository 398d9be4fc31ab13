"""The trackers to which a run is logged, and their options. This module imports none of their packages."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from gan_core.config.input_error import InputError, nearest, shown

Tracking = Mapping[str, Mapping[str, str]]
WANDB_MODES = ("online", "offline")
OPTIONS = {"tensorboard": (), "mlflow": ("uri", "experiment"), "wandb": ("project", "entity", "mode")}
BY_DEFAULT = ("tensorboard",)
INSTALL = {"tensorboard": "tensorboard", "mlflow": '"gan-sweep[mlflow]"', "wandb": '"gan-sweep[wandb]"'}  # for pip


def parse_tracking(values: Any) -> dict[str, dict[str, str]]:
    """Parses the key `tracking` of a spec: name -> options of each tracker to be used.

    None and {} mean TensorBoard alone, and `{tensorboard: false}` switches it off. Raises InputError for an unknown
    tracker or option and for an invalid value. It does not check whether packages are installed.
    """
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise InputError(f"tracking must map trackers to their options, true or false, got {shown(values)}")
    chosen: dict[str, dict[str, str]] = {name: {} for name in BY_DEFAULT}
    for name, options in values.items():
        if name not in OPTIONS:
            raise InputError(f"unknown tracker {shown(name)} in tracking; {nearest(name, OPTIONS)}")
        if options is False:
            chosen.pop(name, None)
        elif options is True or options is None:
            chosen[name] = {}
        else:
            chosen[name] = _options(name, options)
    return {name: chosen[name] for name in OPTIONS if name in chosen}


def plain_tracking(tracking: Tracking) -> dict[str, Any]:
    """Plain values that `parse_tracking` reads back; a default tracker that is not used is false."""
    off = {name: False for name in BY_DEFAULT if name not in tracking}
    return {**off, **{name: dict(options) for name, options in tracking.items()}}


def require_installed(tracking: Tracking) -> None:
    """Raises InputError, with the command to install it, if the package of a tracker is missing. Imports none."""
    for name in tracking:
        if find_spec(name) is None:
            raise InputError(
                f"tracking.{name} needs the package {name}: pip install {INSTALL[name]}, or set tracking.{name}=false"
            )


def _options(name: str, options: Any) -> dict[str, str]:
    if not isinstance(options, Mapping):
        raise InputError(f"tracking.{name} must be true, false or a mapping of options, got {shown(options)}")
    for key, value in options.items():
        if key not in OPTIONS[name]:
            known = nearest(key, OPTIONS[name]) if OPTIONS[name] else "it has none"
            raise InputError(f"unknown option {shown(key)} in tracking.{name}; {known}")
        if not isinstance(value, str) or not value.strip():
            raise InputError(f"tracking.{name}.{key} must be a text, got {shown(value)}; leave it out for the default")
    if "mode" in options and options["mode"] not in WANDB_MODES:
        raise InputError(
            f"unknown tracking.wandb.mode {shown(options['mode'])}; {nearest(options['mode'], WANDB_MODES)}"
        )
    if "uri" in options:
        _check_uri(options["uri"])
    return dict(options)


def _check_uri(uri: str) -> None:
    """Raises InputError for folders, which MLflow 3.17 refuses, and for relative paths, which depend on the process."""
    scheme, separator, rest = uri.partition("://")
    if uri != "databricks" and (not separator or scheme == "file"):
        raise InputError(
            f"tracking.mlflow.uri must be http(s)://, a database (sqlite:////...) or databricks, got {shown(uri)}: "
            "MLflow takes folders no more"
        )
    if scheme == "sqlite" and not rest.startswith("//"):
        raise InputError(f"tracking.mlflow.uri needs an absolute path (sqlite:////home/...), got {shown(uri)}")

"""The Tune `Trainable`: the form in which Ray Tune starts and calls a `Trainer`."""

import importlib
import os
import secrets
from typing import Any

from sweep.runners.ray.trainer import Orders, Trainer


def trainable_class() -> Any:
    """The Tune `Trainable`, whose base class exists only once Ray is loaded. Each call makes a class of another name,
    because Tune keeps classes by name: two sweeps of one program would train each other's cohorts.
    """
    base = importlib.import_module("ray.tune").Trainable

    class CohortTrainable(base):
        """Trains one cohort; a step is a rung. An actor is reused for cohort after cohort."""

        def __init__(self, *given: Any, **named: Any) -> None:
            # Tune would change the working folder, and relative paths of data would point elsewhere. The variable is
            # set here because no process of a cluster elsewhere has the environment of the driver.
            os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
            super().__init__(*given, **named)

        def setup(self, config: dict[str, Any], orders: Orders) -> None:
            self._trainer = Trainer(orders)

        def __repr__(self) -> str:
            """How Ray's dashboard and lists name the actor."""
            return f"gan-sweep:{self._trainer.orders.spec.name} trainer"

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._trainer.reset()
            return True

        def cleanup(self) -> None:
            self._trainer.close()

        def step(self) -> dict[str, Any]:
            return self._trainer.step(self.trial_id)

    CohortTrainable.__name__ = f"CohortTrainable-{secrets.token_hex(8)}"
    return CohortTrainable

"""Search spaces written in a test, the refusal of a wrong one, and a study that draws from one at random."""

from typing import Any

import optuna
import pytest

from gan_core.config.input_error import InputError
from search_spaces.space import SearchSpace


def inline(**keys: Any) -> SearchSpace:
    """The space of a mapping, as a spec has it under `space`."""
    return SearchSpace.load(keys)


def refusal(**keys: Any) -> str:
    """The one line by which such a mapping is refused."""
    with pytest.raises(InputError) as refused:
        inline(**keys)
    message = str(refused.value)
    assert "\n" not in message
    return message


def random_study(seed: int = 0) -> optuna.Study:
    """A study in memory whose sampler draws at random."""
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))

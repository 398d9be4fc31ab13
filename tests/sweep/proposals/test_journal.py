"""The format of Optuna's journal, as far as this program reads it itself, for the versions of Optuna that it allows."""

import json
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import TrialState, create_trial

from sweep.proposals.journal_record import CREATES_TRIAL, OPERATIONS, JournalCheck


class Lines(BaseJournalBackend):
    def __init__(self) -> None:
        self.logs: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self.logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self.logs += json.loads(json.dumps(logs))


def test_each_line_that_optuna_writes_is_known_and_says_whether_it_is_a_new_trial_or_about_which():
    """Trials have one sequence of ids from 0 over all studies, in the order of the lines that create them."""
    lines = Lines()
    storage = JournalStorage(lines)
    created: dict[int, int] = {}  # line -> the id of the trial that it creates
    about: dict[int, int] = {}
    for name in ("one", "other"):
        study = optuna.create_study(storage=storage, study_name=name)
        study.set_user_attr("a", 1)
        study_id = storage.get_study_id_from_name(name)
        storage.set_study_system_attr(study_id, "b", [1.5])
        identity = storage.create_new_trial(study_id)
        created[len(lines.logs) - 1] = identity
        tell = [
            lambda i=identity: storage.set_trial_param(i, "x", 0.5, FloatDistribution(0.0, 1.0)),
            lambda i=identity: storage.set_trial_param(i, "n", 3, IntDistribution(1, 9, step=2)),
            lambda i=identity: storage.set_trial_param(i, "c", 1, CategoricalDistribution(("a", "b"))),
            lambda i=identity: storage.set_trial_intermediate_value(i, 100, 2.5),
            lambda i=identity: storage.set_trial_user_attr(i, "extends", 0),
            lambda i=identity: storage.set_trial_system_attr(i, "constraints:died", 1.0),
            lambda i=identity: storage.set_trial_state_values(i, TrialState.COMPLETE, [1.0]),
        ]
        for call in tell:
            about[len(lines.logs)] = identity
            call()
        created[len(lines.logs) - 1] = storage.create_new_trial(
            study_id,
            create_trial(
                value=1.0,
                params={"x": 0.5},
                distributions={"x": FloatDistribution(0.0, 1.0)},
                user_attrs={"extends": 0},
                intermediate_values={100: 1.0},
            ),
        )
    assert {
        n: i for i, n in enumerate(n for n, log in enumerate(lines.logs) if log["op_code"] == CREATES_TRIAL)
    } == created
    assert {n: log["trial_id"] for n, log in enumerate(lines.logs) if "trial_id" in log} == about
    assert lines.logs[max(created)]["user_attrs"] == {"extends": 0}
    check = JournalCheck()
    assert [check(log) for log in lines.logs] == [None] * len(lines.logs)
    assert {log["op_code"] for log in lines.logs} == set(OPERATIONS)

"""What a run has still to do, by its standings: trials that go on up a longer ladder, and replicates of finalists."""

from results.rows import Outcome
from results.trial_run import TrialRun
from sweep.ledger.standings import Standings


def survivors(standings: Standings) -> list[TrialRun]:
    """The runs that completed what was the last rung, and go on because rungs were added to the ladder: those whose
    last state is kept, while the budget is not spent. All stand at the same rung, and all belong to the search or none.
    """
    ladder, found = standings.spec.ladder, list[TrialRun]()
    if standings.spec.budget.spent(standings.cost()):
        return found
    for run, rows in sorted(standings.rows.items(), key=lambda pair: pair[0].number):
        if not rows or rows[-1].outcome is not Outcome.COMPLETED or len(rows) >= len(ladder):
            continue
        if not standings.ended(run) or not standings.folder.last_state(run).exists():
            continue
        rung, standing = len(rows) - 1, standings.standing(rows)
        verdict = ladder.judge(rung, standings.bracket(run.trial), standing, standings.reached(run.trial, rung))
        if run.replicate or run.trial == 0 or verdict.goes_on:
            found.append(run)
    kinds = [(len(standings.rows[run]), run.replicate > 0) for run in found]
    return [run for run, kind in zip(found, kinds, strict=True) if kind == kinds[0]]


def wanted_replicates(standings: Standings) -> list[TrialRun]:
    """The replicates of all finalists. Who is a finalist is known only when the search has ended; a trial that breaks
    limits is none.
    """
    confirm = standings.spec.confirm
    finalists = [trial for trial in standings.ranking()[: confirm.top] if standings.keeps_limits(trial)]
    return [TrialRun(trial, replicate) for trial in finalists for replicate in range(1, confirm.seeds + 1)]


def search_ended(standings: Standings) -> bool:
    """Whether every trial has ended, and no more are asked for."""
    runs = standings.searched
    if not all(map(standings.ended, runs)):
        return False
    return len(runs) >= standings.spec.trials or standings.spec.budget.spent(standings.cost()) is not None


def nothing_left(standings: Standings) -> bool:
    """Whether the search has ended, no run goes on, and every replicate that is asked for has ended."""
    if not search_ended(standings) or survivors(standings):
        return False
    return all(run in standings.rows and standings.ended(run) for run in wanted_replicates(standings))

"""Verdicts: which lanes of a cohort go on from a rung, by the rows of all. Nothing is recorded here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gan_core.config.gan import GanConfig
from gan_core.config.reports import Death
from results.rows import OVERRULED, Outcome, ResultRow
from results.trial_run import TrialRun
from sweep.ladder.ladder import Change, Reached, Verdict
from sweep.ladder.population import Member, Move, plan
from sweep.ledger.standings import Standings, row_config


def verdicts_at(
    standings: Standings,
    rows: Mapping[TrialRun, ResultRow],
    deaths: Mapping[TrialRun, Death | None],
    beside: Mapping[TrialRun, ResultRow],
) -> dict[TrialRun, Verdict]:
    """One verdict for each run. rows: of one cohort at one rung, which the standings have not taken in yet; deaths: of
    each run, or None. beside: the rows of the lanes of the cohort that were judged at this rung earlier and go on.

    All count as having reached the rung before the first is judged, so that their order decides nothing.
    """
    courses = {run: [*standings.rows[run], row] for run, row in rows.items()}
    reached: dict[int, Reached] = {}
    for run, row in rows.items():
        if deaths[run] is None and not run.replicate:
            bracket = standings.bracket(run.trial)
            if bracket not in reached:
                reached[bracket] = Reached(list(standings.reached(run.trial, row.rung).places))
            reached[bracket].add([standings.standing(courses[run])])
    verdicts = {
        run: _judge(standings, run, courses[run], reached)
        if death is None
        else Verdict(Outcome(death.outcome), death.reason)
        for run, death in deaths.items()
    }
    going = {run: rows[run] for run, verdict in verdicts.items() if verdict.goes_on}
    moves = population_moves(standings, {**beside, **going})
    for run in going.keys() & moves.keys():
        verdicts[run] = Verdict(Outcome.RUNNING, moves[run].reason, change_of(moves[run], rows[run]))
    return verdicts


def _judge(standings: Standings, run: TrialRun, course: Sequence[ResultRow], reached: Mapping[int, Reached]) -> Verdict:
    """course: the rows of a run that lives, up to this rung; reached: by bracket, all that reached the rung."""
    spec, rung = standings.spec, course[-1].rung
    ladder = spec.ladder
    if run.replicate:
        outcome = Outcome.COMPLETED if rung == len(ladder) - 1 else Outcome.RUNNING
        return Verdict(outcome, f"confirmation {run.replicate} of trial {run.trial}")
    standing, bracket = standings.standing(course), standings.bracket(run.trial)
    verdict = ladder.judge(rung, bracket, standing, reached[bracket])
    if spec.population and verdict.outcome is Outcome.PRUNED and standing.known:
        return Verdict(Outcome.RUNNING, "kept: a population prunes no trials")
    if verdict.goes_on and ladder.is_plateau([standings.standing(course[: n + 1]) for n in range(len(course))]):
        reason = f"no improvement beyond twice its standard error in {ladder.patience_rungs} rungs"
        verdict = Verdict(Outcome.PRUNED, reason)
    if run.trial == 0 and verdict.outcome is Outcome.PRUNED:
        return Verdict(Outcome.RUNNING, f"{OVERRULED}; {verdict.reason}", overruled=True)
    return verdict


def population_moves(standings: Standings, rows: Mapping[TrialRun, ResultRow]) -> dict[TrialRun, Move]:
    """What each lane of a population does next. rows: of all lanes that go on from a rung. Empty without population."""
    spec = standings.spec
    if spec.population is None or not rows:
        return {}
    members = []
    for _, row in sorted(rows.items()):
        there = standings.standing([row])
        off = there.violation, there.violation_error
        members.append(Member(row.trial, row_config(row), row.score, there.errors[0], *off))
    rung = next(iter(rows.values())).rung
    return {TrialRun(move.trial): move for move in plan(members, spec.space, spec.population, rung, spec.seed)}


def configs_in_force(standings: Standings, runs: Sequence[TrialRun]) -> dict[TrialRun, GanConfig]:
    """The configurations with which the lanes of a population go on. They follow from the last rung at which all lanes
    were judged, for an owner that was killed may have recorded only some rows of the next one.
    """
    rung = min((len(standings.rows[run]) for run in runs if not standings.ended(run)), default=0) - 1
    if rung < 0:
        return {}
    there = {run: standings.rows[run][rung] for run in runs if len(standings.rows[run]) > rung}
    there = {run: row for run, row in there.items() if row.outcome is Outcome.RUNNING}
    return {run: move.config for run, move in population_moves(standings, there).items()}


def change_of(move: Move, row: ResultRow) -> Change | None:
    """What a move of a population changes in its lane; None if the lane goes on as it is."""
    stays = move.source == row.trial and move.config == row_config(row)
    return None if stays else Change(TrialRun(move.source), move.config)


def judged(row: ResultRow, verdict: Verdict) -> ResultRow:
    """The row of a lane with the verdict on it."""
    source = None if verdict.change is None else verdict.change.source
    parent = None if source is None or source == row.run else source.trial
    return replace(row, outcome=verdict.outcome, reason=verdict.reason, parent=parent, overruled=verdict.overruled)

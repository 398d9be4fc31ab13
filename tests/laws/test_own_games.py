"""A sweep of a person's own loss, by a person's own score: run, table, export and final training."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_runs import TINY, settings

from results.table import ResultsTable

pytestmark = pytest.mark.usefixtures("quick")
MINE = """
import torch.nn.functional as F


class my_loss:
    def discriminator(real, fake):
        return F.softplus(fake - real).mean()

    def generator(fake, real):
        return F.softplus(real - fake).mean()


def my_score(samples, held_out):
    assert samples.shape[1:] == held_out.shape[1:] == (1, 8, 8)
    return (samples.mean() - held_out.mean()).abs()


def picky(samples, held_out):
    if len(samples) == 200:
        raise ArithmeticError("not this one")
    return 1
"""
OWN = settings(*TINY, "structure.loss=my_gan.py:my_loss", "execution=replayed")


def test_a_sweep_minimises_an_own_score_in_an_own_game(gan_sweep):
    Path("my_gan.py").write_text(MINE)
    assert gan_sweep("run", "--local", "--out", "it", *OWN, *settings("objective=my_gan.py:my_score")).code == 0
    frame: Any = ResultsTable.load("it").frame
    assert (frame["score"] == frame["fidelity.my_score"]).all()
    assert frame["structure.loss"].str.startswith("my_gan.py:my_loss#").all()
    assert set(frame["objective"].str.partition("#")[0]) == {"my_gan.py:my_score"}
    assert frame["fidelity.fid"].notna().all()
    Path("my_gan.py").unlink()  # the run has its own copy
    assert gan_sweep("export", "it", "-o", "best.yaml").code == 0
    assert "my_score" in Path("best.yaml").read_text().splitlines()[0]
    trained = gan_sweep("train", "best.yaml", "-o", "best", "--images", "512")
    assert (trained.code, trained.err) == (0, "")
    assert "my_score" in trained.out
    assert "fidelity.my_score" in Path("best/metrics.csv").read_text()
    assert yaml.safe_load(Path("best/config.yaml").read_text())["score"]["objective"].startswith("my_gan.py:my_score#")


def test_an_error_of_an_own_score_fails_the_trial_with_their_line(gan_sweep):
    Path("my_gan.py").write_text(MINE)
    gan_sweep("run", "--local", "--out", "it", *OWN, *settings("objective=my_gan.py:picky", "trials=1"))
    (row,) = ResultsTable.load("it").frame.to_dict("records")
    assert row["outcome"] == "failed"
    assert "ArithmeticError: not this one (my_gan.py, line 20)" in row["reason"]


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("objective=my_gan.py", "objective must say which function of the file is meant"),
        ("objective=my_gan.py:fid", "with a name that no other score has"),
        ("objective=-my_gan.py:my_score", "a score of your own must be the first objective, and less of it better"),
        ("objective=[fid, my_gan.py:my_score]", "a score of your own must be the first objective"),
        ("objective=my_gan.py:lost", "has no 'lost'"),
        ("structure.loss=my_gan.py", "structure.loss must say which loss of the file is meant"),
        ("structure.loss=my_gan.py:my_score", "must be a class with functions discriminator"),
    ],
)
def test_what_is_no_score_or_loss_is_one_line_before_anything_is_trained(gan_sweep, assignment, says):
    Path("my_gan.py").write_text(MINE)
    answer = gan_sweep("run", "--local", "--out", "it", *settings(*TINY, assignment))
    assert answer.code == 2
    assert says in answer.err
    assert answer.err.count("\n") == 1

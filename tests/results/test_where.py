"""A condition on rows chooses what pandas would, and can do nothing but compare columns."""

import math

import pandas as pd
import pytest

from gan_core.config.input_error import InputError
from results.where import MOST_CHARACTERS, column_named, meets

ROWS = pd.DataFrame(
    {
        "trial": [0, 1, 2, 3],
        "outcome": ["completed", "pruned", "diverged", "completed"],
        "fidelity.fidelity": [1.5, 4.0, math.nan, 9.0],
        "fidelity.penalty": [0.0, 1.0, 2.0, 3.0],
        "health.penalty": [0.0, 0.0, 5.0, 0.0],
        "lane.generator_lr": [1e-4, 2e-4, 4e-4, 8e-4],
        "lane.discriminator_lr": [2e-4, 2e-4, 2e-4, 2e-4],
        "parent": pd.array([None, 0, None, 3], dtype="Int64"),
        "signs": ["", "oscillation", "oscillation low_coverage", None],
        "lane.flag": [True, False, True, True],
    }
)
LIKE_PANDAS = {  # a condition -> the same for `DataFrame.query`
    'fidelity < 5 and outcome == "completed"': '`fidelity.fidelity` < 5 and outcome == "completed"',
    "1 < fidelity <= 4": "1 < `fidelity.fidelity` <= 4",
    "fidelity.fidelity != 4": "`fidelity.fidelity` != 4",
    "not fidelity < 5": "not `fidelity.fidelity` < 5",
    "outcome in ['pruned', 'diverged'] or trial == 0": "outcome in ['pruned', 'diverged'] or trial == 0",
    "trial not in (0, 3)": "trial not in (0, 3)",
    "generator_lr / discriminator_lr >= 2": "`lane.generator_lr` / `lane.discriminator_lr` >= 2",
    "(trial + 1) * 2 - 1 > -trial + 7": "(trial + 1) * 2 - 1 > -trial + 7",
    "trial / 0 > 1": "trial / 0 > 1",
    "parent.isna()": "parent.isna()",
    "isna(parent) and flag": "parent.isna() and `lane.flag`",
    "notna(fidelity)": "`fidelity.fidelity`.notna()",
    "parent < 3": "parent < 3",
    "flag == False": "`lane.flag` == False",
}


@pytest.mark.parametrize(("condition", "query"), LIKE_PANDAS.items(), ids=LIKE_PANDAS)
def test_a_condition_chooses_what_pandas_would(condition, query):
    expected = ROWS.query(query, engine="python")["trial"].tolist()
    found = meets(ROWS, condition)
    assert found.dtype == bool
    assert ROWS[found]["trial"].tolist() == expected


def test_a_text_may_be_a_part_of_a_column_of_words():
    assert ROWS[meets(ROWS, '"oscillation" in signs')]["trial"].tolist() == [1, 2]
    assert ROWS[meets(ROWS, '"oscillation" not in signs')]["trial"].tolist() == [0, 3]


REFUSED = {
    "__import__('os').system('true')": "and not __import__('os').system('true')",
    "open('x')": "and not open('x')",
    "fidelity.__class__ == 1": "there is no column 'fidelity.__class__'",
    "().__class__ == 1": "and not ().__class__",
    "signs.str.contains('x')": "and not signs.str.contains('x')",
    "fidelity.isna(3)": "and not fidelity.isna(3)",
    "isna(fidelity < 3)": "and not isna(fidelity < 3)",
    "isna(fidelity, axis=0)": "and not isna(fidelity, axis=0)",
    "fidelity[0] < 3": "and not fidelity[0]",
    "[f for f in (1, 2)]": "and not [f for f in (1, 2)]",
    "lambda: 1": "and not lambda: 1",
    "fidelity < (3 if flag else 4)": "and not 3 if flag else 4",
    "fidelity ** 9 < 1": "and not fidelity ** 9",
    "fidelity @ trial < 1": "and not fidelity @ trial",
    "~fidelity < 1": "and not ~fidelity",
    "fidelity is 3": "and not fidelity is 3",
    "fidelity < 1e999": "and not 1e309",
    "parent == None": "and not None",
    "outcome == b'x'": "and not b'x'",
    "outcome == f'{trial}'": "and not f'{trial}'",
    "trial in trial": "and not trial",
    "@fidelity < 1": "cannot be read from '@fidelity < 1' on",
    "`fidelity.fidelity` < 1": "cannot be read from '`fidelity.fidelity` < 1' on",
    "fidelity < 1; trial": "cannot be read from '; trial' on",
    "(x := 3) < 1": "and not (x := 3)",
    "": "cannot be read from 'its end' on",
    "a\0b": "cannot be read",
    "(" * 900: "cannot be read",
    "-" * 1_900 + "1 < trial": "cannot be read",
    "1" * MOST_CHARACTERS + "1": f"at most {MOST_CHARACTERS:,} characters, got {MOST_CHARACTERS + 1:,}",
    "fidelity": "'fidelity' is no condition on columns",
    "1 < 2": "'1 < 2' is no condition on columns",
    "outcome == 3": "outcome == 3 compares text with a number",
    "outcome < 'p'": "outcome < 'p' asks for the order of text, which has none",
    "'a' * 9 == outcome": "'a' is text; a number is needed there",
    "fidelity and flag": "fidelity is a number; a condition is needed there",
    "trial in [1, 'x']": "'x' is text; a number is needed there",
    "fidelty < 3": "there is no column 'fidelty'; did you mean 'fidelity'?",
    "lane.generator_rl < 3": "did you mean 'lane.generator_lr'?",
    "penalty < 3": "'penalty' may be fidelity.penalty or health.penalty; write the whole name",
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize(("condition", "says"), REFUSED.items(), ids=[text[:30] for text in REFUSED])
def test_everything_else_is_refused_and_named_in_one_line(condition, says):
    with pytest.raises(InputError) as refused:
        meets(ROWS, condition)
    said = str(refused.value)
    assert says in said
    assert len(said) < 700
    assert "\n" not in said


def test_a_column_is_found_by_its_whole_name_first():
    assert column_named("seed", ["lane.seed", "seed"]) == "seed"
    assert column_named("lr", ["lane.lr"]) == "lane.lr"

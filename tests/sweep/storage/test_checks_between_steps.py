"""What a sweep calls at each step of Ray Tune, which pickles it."""

import pickle
import threading

from sweep.run import _Steps


def test_it_can_be_pickled_whatever_it_calls_and_calls_all_in_order():
    said, lock = [], threading.Lock()
    steps = _Steps([lambda: said.append(lock.locked()), lambda: said.append("second")])
    steps()
    assert said == [False, "second"]
    pickle.loads(pickle.dumps(steps))()
    assert len(said) == 2

"""A process whose answer was lost ends, and no other."""

import threading

from events import LONGEST_SECONDS

from sweep.runners.ray.silence import Silence


def test_a_process_that_is_not_called_again_after_its_answer_ends():
    lost = threading.Event()
    Silence(lost.set, seconds=0.0).begin()
    assert lost.wait(LONGEST_SECONDS)


def test_a_process_that_is_called_in_time_goes_on_and_one_that_has_not_answered_too():
    lost, barrier = threading.Event(), threading.Event()
    silence = Silence(lost.set, seconds=0.2)
    silence.end()
    silence.begin()
    silence.end()
    Silence(barrier.set, seconds=0.3).begin()  # what began later has ended, so the first would have
    assert barrier.wait(LONGEST_SECONDS)
    assert not lost.is_set()

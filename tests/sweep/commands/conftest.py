"""What tests of commands share."""

import pytest


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run that does not measure steps, which takes 3 s; tests of the time estimate do."""
    monkeypatch.setattr("sweep.planning.time_estimate.time_lines", lambda *given: "not measured")

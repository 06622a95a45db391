"""What is too old to be screened, and what is decided of it."""

import pytest

from worker.records import Action, AgeBand, ReasonGiven
from worker.shedding import hold, is_overdue


@pytest.mark.parametrize(
    ("written_at", "shed_lag_s", "overdue"),
    [
        (1000.0, 60.0, False),
        (939.9, 60.0, True),
        (940.0, 60.0, False),
        (0.0, None, False),
        (None, 60.0, False),
        (2000.0, 60.0, False),
    ],
    ids=["new", "too old", "just not", "off", "of unknown age", "from the future"],
)
def test_what_is_overdue(written_at: float | None, shed_lag_s: float | None, overdue: bool) -> None:
    assert is_overdue(written_at, 1000.0, shed_lag_s) is overdue


@pytest.mark.parametrize(("audience", "band"), [(AgeBand.ADULT, AgeBand.ADULT), (None, AgeBand.UNKNOWN)])
def test_it_waits_for_a_person_and_says_why(audience: AgeBand | None, band: AgeBand) -> None:
    verdict = hold(audience)

    assert (verdict.action, verdict.category, verdict.severity) == (Action.HOLD, None, None)
    assert verdict.reasons == [ReasonGiven("overload", None, None, band, Action.HOLD, "settings.shed_lag_s")]

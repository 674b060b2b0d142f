"""The one table of an incident's life."""

from __future__ import annotations

from uuid import uuid4

import pytest

from alerts.models import Incident
from alerts.transitions import ENGINE, PEOPLE, STEPS, TABLE, IllegalTransition, check_given, following


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("open", {"acknowledged", "resolved"}),
        ("acknowledged", {"resolved"}),
        ("resolved", {"open"}),
    ],
)
def test_each_state_leads_where_the_table_says(before: str, after: set[str]) -> None:
    assert following(before) == after


def test_every_state_of_the_database_is_in_it_and_no_other() -> None:
    mentioned = {state for step in TABLE for state in (*step.before, step.after)}
    assert mentioned == set(Incident.State.values)


def test_the_only_way_back_needs_a_note() -> None:
    order = ["open", "acknowledged", "resolved"]
    back = [step for step in TABLE if any(order.index(step.after) < order.index(before) for before in step.before)]
    assert [(step.action, step.needs) for step in back] == [("reopen", frozenset({"note"}))]


@pytest.mark.parametrize("action", list(STEPS))
def test_nothing_moves_by_itself(action: str) -> None:
    step = STEPS[action]  # type: ignore[index]
    for through in PEOPLE:
        check_given(step, step.needs, through)
    with pytest.raises(ValueError, match="no incident moves by itself"):
        check_given(step, step.needs, ENGINE)


def test_it_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="resolve: expected disposition, got none"):
        check_given(STEPS["resolve"], (), "screen")


def test_a_refusal_names_what_would_be_possible() -> None:
    uid = uuid4()
    said = f"incident {uid}: it is resolved, from where it can become open, not acknowledged; reload it first"
    assert str(IllegalTransition(uid, "resolved", "acknowledged")) == said

"""What people mean who answer an SMS, as a table; and which code is given next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.answers import CODES, KEPT, Outcome, free_code, meaning

ONE, TWO = {"47": ["dock"]}, {"47": ["dock"], "48": ["gate"]}


@pytest.mark.parametrize(
    ("text", "open_alerts", "outcome", "alert"),
    [
        ("47", ONE, Outcome.ACKNOWLEDGED, "dock"),
        ("48", TWO, Outcome.ACKNOWLEDGED, "gate"),
        (" 47. ", TWO, Outcome.ACKNOWLEDGED, "dock"),
        ("Ok, 47!", TWO, Outcome.ACKNOWLEDGED, "dock"),
        ("收到47", TWO, Outcome.ACKNOWLEDGED, "dock"),
        ("47 👍", TWO, Outcome.ACKNOWLEDGED, "dock"),
        ("ok 47, on my way", TWO, Outcome.UNCLEAR, None),
        ("back in 47 min", TWO, Outcome.UNCLEAR, None),
        ("not 47", TWO, Outcome.UNCLEAR, None),
        ("gate 3, 47", TWO, Outcome.UNCLEAR, None),
        ("４７", TWO, Outcome.ACKNOWLEDGED, "dock"),
        ("47 47", TWO, Outcome.ACKNOWLEDGED, "dock"),
        ("1", ONE, Outcome.ACKNOWLEDGED, "dock"),
        ("１", ONE, Outcome.ACKNOWLEDGED, "dock"),
        ("1!", ONE, Outcome.ACKNOWLEDGED, "dock"),
        ("1", TWO, Outcome.WHICH, None),
        ("1", {"47": ["dock", "gate"]}, Outcome.WHICH, None),
        ("47 48", TWO, Outcome.WHICH, None),
        ("47", {"47": ["dock", "gate"]}, Outcome.WHICH, None),
        ("49", TWO, Outcome.NO_SUCH_CODE, None),
        ("1", {}, Outcome.NOTHING_OPEN, None),
        ("47", {}, Outcome.NOTHING_OPEN, None),
        ("thanks", {}, Outcome.NOTHING_OPEN, None),
        ("who is this?", ONE, Outcome.UNCLEAR, None),
        ("2", ONE, Outcome.UNCLEAR, None),
        ("", ONE, Outcome.UNCLEAR, None),
        ("2026", ONE, Outcome.UNCLEAR, None),
        ("147", ONE, Outcome.UNCLEAR, None),
        ("STOP", ONE, Outcome.UNSUBSCRIBED, None),
        ("Start.", ONE, Outcome.SUBSCRIBED, None),
        ("resolve 47", ONE, Outcome.UNCLEAR, None),
    ],
)
def test_an_answer_means(text: str, open_alerts: dict[str, list[str]], outcome: Outcome, alert: str | None) -> None:
    meant = meaning(text, open_alerts)

    assert (meant.outcome, meant.alert) == (outcome, alert)


def test_a_bare_one_means_nothing_where_something_else_is_open_too() -> None:
    assert meaning("1", ONE, others=True).outcome is Outcome.WHICH
    assert meaning("47", ONE, others=True).alert == "dock"


@given(st.text(max_size=200), st.dictionaries(st.sampled_from(CODES), st.lists(st.integers(), min_size=1, max_size=2)))
def test_nothing_is_acknowledged_that_is_not_open(text: str, open_alerts: dict[str, list[int]]) -> None:
    meant = meaning(text, open_alerts)

    assert (meant.alert is not None) == (meant.outcome is Outcome.ACKNOWLEDGED)
    assert meant.alert is None or any(meant.alert in alerts for alerts in open_alerts.values())


NOW = datetime(2026, 3, 1, 4, tzinfo=UTC)


@given(st.dictionaries(st.sampled_from(CODES), st.none() | st.integers(0, 200), min_size=70))
def test_a_code_is_given_again_only_when_none_is_unused_and_nobody_was_shown_it_for_a_day(
    hours_ago: dict[str, int | None],
) -> None:
    standing = {code: None if ago is None else NOW - timedelta(hours=ago) for code, ago in hours_ago.items()}

    code = free_code(standing, NOW)

    may_go = {code: ago for code, ago in hours_ago.items() if ago is not None and ago >= KEPT / timedelta(hours=1)}
    if len(standing) < len(CODES):
        assert code in set(CODES) - set(standing)
    elif not may_go:
        assert code == ""
    else:
        assert may_go[code] == max(may_go.values())


def test_of_codes_that_all_stand_for_something_the_one_goes_that_was_shown_longest_ago() -> None:
    standing: dict[str, datetime | None] = dict.fromkeys(CODES)
    assert free_code(standing, NOW) == ""
    standing |= {"33": NOW - KEPT + timedelta(seconds=1)}
    assert free_code(standing, NOW) == ""
    standing |= {"44": NOW - KEPT, "55": NOW - 2 * KEPT}
    assert free_code(standing, NOW) == "55"

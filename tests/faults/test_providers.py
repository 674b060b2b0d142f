"""Providers that throttle, refuse, hang, cut off or fall silent, all at once; each recipient has a state of its own.

Nine people walk through nine zones at once. Each zone's guard is reached by another way, and every way fails in its
own; one is well, and must not notice the others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.faults.way import GREYLISTED, NO_SUCH, RESERVE, SILENT, Told, Way
from tests.services.installation import wait_for

pytestmark = [pytest.mark.valkey, pytest.mark.slow, pytest.mark.timeout(300)]

THROTTLED, REFUSED, ERROR, CUT, HANG, GREY, GONE, MUTE, WELL = range(9)
UNASKED_S = 10.0
"""How long a provider may be silent before its request counts as unknown."""


@dataclass(frozen=True, slots=True)
class Play:
    """What became of all nine, and what the providers saw."""

    told: dict[str, list[Told]]
    requests: dict[str, list[str]]
    """Modes in which Twilio answered, by number."""
    mailed: list[str]

    def of(self, place: int) -> list[Told]:
        """The deliveries about a place."""
        return self.told[f"k{place:02d}"]

    def modes(self, place: int) -> list[str]:
        """How Twilio answered the requests for a place's guard."""
        return self.requests.get(number(place), [])


def number(place: int) -> str:
    return f"+8869120000{place:02d}"


@pytest.fixture(scope="package")
def play(_open_way: Way) -> Iterator[Play]:
    way = _open_way
    way.heal()
    way.twilio.modes = {
        number(THROTTLED): ["429", "accept"],
        number(REFUSED): "21211",
        number(ERROR): "503",
        number(CUT): "cut",
        number(HANG): "hang",
    }
    way.smtp.modes = {GREYLISTED: "451-once", NO_SUCH: "550", SILENT: "silent"}
    before = len(way.twilio.requests), len(way.smtp.received)
    camera = way.walk(*range(9))

    def settled() -> bool:
        rows = way.told(camera)
        # The silent mail server cannot be asked; its message stays in doubt until it is sent once more.
        open_rows = [row for row in rows if row.state in ("queued", "sending", "unknown") and row.address != SILENT]
        mute = [row for row in rows if row.address == SILENT and row.state == "unknown"]
        return {row.zone for row in rows} == {f"k{place:02d}" for place in range(9)} and not open_rows and bool(mute)

    try:
        wait_for("all but the silent one have an end", settled, 60, 0.3)
    finally:
        print(way.told(camera), way.said())
    requests: dict[str, list[str]] = {}
    for request in way.twilio.requests[before[0] :]:
        requests.setdefault(request.to, []).append(request.mode)
    yield Play(way.by_zone(camera), requests, [to for to, _ in way.smtp.received[before[1] :]])


def took_s(row: Told) -> float:
    """From the decision until it was known to have been taken."""
    assert row.sent_s is not None
    return row.sent_s - row.decided_s


def test_a_guard_whose_provider_is_well_is_told_while_all_others_fail(play: Play) -> None:
    [row] = play.of(WELL)
    assert (row.state, play.modes(WELL)) == ("sent", ["accept"])
    assert took_s(row) <= 10


def test_what_was_throttled_is_sent_again_within_five_seconds(play: Play) -> None:
    [row] = play.of(THROTTLED)
    assert (row.state, row.attempts, play.modes(THROTTLED)) == ("sent", 2, ["429", "accept"])
    assert took_s(row) <= 10


def test_a_number_that_is_refused_is_switched_off_and_the_next_is_told_within_five_seconds(play: Play) -> None:
    refused, reserve = play.of(REFUSED)
    assert (refused.state, reserve.state, reserve.address) == ("failed", "sent", RESERVE)
    assert (play.modes(REFUSED), play.requests[RESERVE]) == (["21211"], ["accept"])
    assert refused.finished_s is not None and reserve.sent_s is not None
    assert reserve.sent_s - refused.finished_s <= 5


@pytest.mark.parametrize("place", [ERROR, CUT, HANG], ids=["503 after accepting", "cut", "no answer"])
def test_what_may_have_arrived_is_asked_for_within_a_minute_and_not_sent_twice(play: Play, place: int) -> None:
    [row] = play.of(place)
    assert (row.state, len(play.modes(place))) == ("sent", 1)
    assert took_s(row) <= 60


def test_each_mailbox_has_a_state_of_its_own(play: Play) -> None:
    [grey] = play.of(GREY)
    assert (grey.state, grey.attempts) == ("sent", 2)
    gone, reserve = play.of(GONE)
    assert (gone.state, reserve.state) == ("failed", "sent")
    assert "5.1.1" in gone.problem
    assert sorted(play.mailed) == sorted([GREYLISTED, reserve.address, SILENT])


def test_a_mail_server_that_falls_silent_is_left_after_ten_seconds(play: Play) -> None:
    [row] = play.of(MUTE)
    assert row.state == "unknown"
    assert row.attempted_s is not None and row.finished_s is not None
    assert UNASKED_S - 1 <= row.finished_s - row.attempted_s <= UNASKED_S + 2


def test_a_callback_that_comes_late_twice_and_out_of_order_moves_nothing_back(way: Way) -> None:
    camera = way.walk(WELL)
    way.wait_sent(camera, [WELL], 20)
    # Asked, it would say the same sooner or later; here only what it calls back is heard.
    way.twilio.asking = "503"
    kept = way.twilio.kept[-1]
    assert kept.callback == f"http://127.0.0.1:{way.port}/hooks/twilio/status/"
    forged = [way.twilio.call_back(kept, "undelivered", signature=signature) for signature in ("", "nonsense")]
    assert forged == [403, 403]
    assert [row.state for row in way.told(camera)] == ["sent"]

    answers: list[int] = []
    words = ("delivered", "delivered", "sent", "queued", "undelivered", "failed")
    together = [threading.Thread(target=lambda: answers.append(way.twilio.call_back(kept, "delivered"))) for _ in "12"]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join(20)
    answers += [way.twilio.call_back(kept, word) for word in words]

    assert answers == [200] * 8
    [row] = way.told(camera)
    assert row.state == "delivered"
    assert way.phones(camera) == {"k08": 1}

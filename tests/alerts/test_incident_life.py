"""Any order of events, decisions, silences, windows, outages and time: no alert is lost, nothing is acknowledged by
itself or goes back, and whatever mutes refuses nobody an acknowledgement or a resolution.

A machine does what people and cameras may do, in any order, on a real database, and keeps a book of its own beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from alerts.events import SEVERITIES
from alerts.events import Event as Content
from alerts.incidents import (
    AnotherUnresolved,
    acknowledge,
    add_note,
    assign,
    change_severity,
    keep_mutes,
    record,
    reopen,
    resolve,
)
from alerts.models import (
    Alert,
    Delivery,
    Event,
    Incident,
    IncidentTransition,
    MaintenanceWindow,
    Recipient,
    Silence,
)
from alerts.silences import end_silence, make_silence, remove_window, save_window
from alerts.telling import take_due_steps
from alerts.transitions import ENGINE, STEPS, IllegalTransition, following
from frontend.models import User
from streams.models import BlindSpan, Source
from tests.alerts.town import SMS, Town, at, build_town, examples

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

UNRESOLVED = ("open", "acknowledged")


class Life(RuleBasedStateMachine):
    """Two cameras of one rule, one person to tell, one who acts."""

    town: ClassVar[Town]
    alice: ClassVar[User]

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.events = 0
        self.last_states: dict[int, str] = {}
        self.decided: Counter[str] = Counter()

    @initialize()
    def begin(self) -> None:
        for rows in (Incident, Event, Silence, MaintenanceWindow, BlindSpan):
            rows.objects.all().delete()

    def later(self, seconds: float) -> Any:
        self.now_s += seconds
        return at(self.now_s)

    def pick(self, n: int) -> Incident | None:
        rows = list(Incident.objects.order_by("pk"))
        return rows[n % len(rows)] if rows else None

    # What happens

    @rule(gate=st.booleans(), severity=st.sampled_from(SEVERITIES), seconds=st.sampled_from([1, 10, 4000]))
    def something_happens(self, gate: bool, severity: Any, seconds: float) -> None:
        camera = self.town.gate if gate else self.town.yard
        now = self.later(seconds)
        record([self.town.event(camera=camera.uid, severity=severity, happened_at=now)], now=now)
        self.events += 1

    @precondition(lambda self: self.events)
    @rule()
    def it_is_read_from_the_log_once_more(self) -> None:
        row = Event.objects.latest("pk")
        record([msgspec.convert(row.content, Content)], now=self.later(1))

    @rule(seconds=st.sampled_from([1, 150, 4000]))
    def the_sweep_turns(self, seconds: float) -> None:
        now = self.later(seconds)
        keep_mutes(now)
        take_due_steps(now)

    @rule(gate=st.booleans())
    def a_camera_goes_or_comes_back(self, gate: bool) -> None:
        camera, now = self.town.gate if gate else self.town.yard, self.later(1)
        if not BlindSpan.objects.filter(camera=camera, to_at__isnull=True).update(to_at=now):
            BlindSpan.objects.create(camera=camera, from_at=now, reason="unreachable")

    # What people do

    def person(self, do: Any, n: int, **given: Any) -> None:
        """Whatever is refused changes nothing: the invariants see to it. Nothing refuses a step of the table."""
        incident = self.pick(n)
        if incident is None:
            return
        step = STEPS.get(do.__name__)
        try:
            do(incident.uid, by=self.alice, through="screen", now=self.later(1), **given)
            self.decided[do.__name__] += 1
        except AnotherUnresolved:
            pass
        except IllegalTransition:
            assert step is None or incident.state not in step.before, (incident.state, incident.muted_by)

    @rule(n=st.integers(0, 5))
    def alice_acknowledges(self, n: int) -> None:
        self.person(acknowledge, n)

    @rule(n=st.integers(0, 5))
    def alice_resolves(self, n: int) -> None:
        self.person(resolve, n, disposition="confirmed", note="")

    @rule(n=st.integers(0, 5))
    def alice_reopens(self, n: int) -> None:
        self.person(reopen, n, note="It goes on.")

    @rule(n=st.integers(0, 5))
    def alice_gives_it_away(self, n: int) -> None:
        self.person(assign, n, to=self.alice)

    @rule(n=st.integers(0, 5), severity=st.sampled_from(SEVERITIES))
    def alice_judges(self, n: int, severity: str) -> None:
        self.person(change_severity, n, severity=severity, note="I know better.")

    @rule(n=st.integers(0, 5))
    def alice_notes(self, n: int) -> None:
        self.person(add_note, n, text="Seen.")

    @rule(gate=st.booleans(), seconds=st.sampled_from([30, 600]))
    def alice_silences(self, gate: bool, seconds: float) -> None:
        camera = self.town.gate if gate else self.town.yard
        now = self.later(1)
        span = {"from_at": now, "until_at": at(self.now_s + seconds)}
        make_silence({"cameras": [str(camera.uid)]}, author=self.alice, reason="Works", now=now, **span)

    @rule()
    def alice_hears_again(self) -> None:
        now = self.later(1)
        for silence in Silence.objects.filter(until_at__gt=now):
            end_silence(silence, by=self.alice, now=now)

    @rule(exists=st.booleans())
    def alice_plans_a_drill_around_noon(self, exists: bool) -> None:
        now = self.later(1)
        for window in MaintenanceWindow.objects.all():
            remove_window(window, now=now)
        if exists:
            schedule = [{"days": [6], "from": "11:00", "until": "13:00"}]
            given = {"name": "Drill", "site": self.town.site, "author": self.alice, "schedule": schedule}
            save_window(MaintenanceWindow(**given), now=now)

    # What must hold after each of it

    @invariant()
    def every_event_is_in_one_incident_and_counted(self) -> None:
        assert Event.objects.filter(incident__isnull=False).count() == self.events
        assert sum(Incident.objects.values_list("event_count", flat=True)) == self.events

    @invariant()
    def a_group_has_one_unresolved_incident_at_most(self) -> None:
        groups = Incident.objects.filter(state__in=UNRESOLVED).values_list("group_key", flat=True)
        assert max(Counter(groups).values(), default=0) <= 1

    @invariant()
    def no_alert_is_lost(self) -> None:
        """Whatever nobody has yet was told, or is muted and says what will be told when it no longer is."""
        for incident in Incident.objects.filter(state="open"):
            assert incident.alerts.exists() or (incident.muted_by and incident.untold), incident.uid
            assert bool(incident.untold) <= bool(incident.muted_by)

    @invariant()
    def each_piece_of_news_is_told_once(self) -> None:
        told = Alert.objects.exclude(reason="reminder").values_list("incident", "reason", "step")
        assert max(Counter(told).values(), default=0) <= 1
        assert Delivery.objects.filter(resends__isnull=True).count() == Alert.objects.count()

    @invariant()
    def nothing_moves_by_itself(self) -> None:
        steps = IncidentTransition.objects.filter(action="step").exclude(before="")
        assert not steps.filter(through=ENGINE).exists()
        assert not steps.filter(by__isnull=True).exists()
        assert steps.count() == sum(self.decided[name] for name in ("acknowledge", "resolve", "reopen"))

    @invariant()
    def every_way_is_one_of_the_table_and_none_leads_back_but_reopening(self) -> None:
        for incident in Incident.objects.prefetch_related("transitions"):
            steps = [step for step in incident.transitions.all() if step.action == "step"]
            states = [step.after for step in steps]
            assert states[0] == "open"
            assert states[-1] == incident.state
            for before, step in zip(states, steps[1:], strict=False):
                assert step.before == before
                assert step.after in following(before)
                assert step.note or step.after != "open"

    @invariant()
    def who_has_it_agrees_with_where_it_stands(self) -> None:
        for incident in Incident.objects.all():
            assert bool(incident.acknowledged_at) >= (incident.state == "acknowledged")
            assert (incident.state == "open") <= (incident.acknowledged_at is None)
            assert (incident.state == "resolved") == bool(incident.resolved_at) == bool(incident.disposition)
            assert not (incident.state == "resolved" and (incident.muted_by or incident.untold))

    def teardown(self) -> None:
        """Nothing mutes any more: all that was withheld and is still news has been told."""
        now = self.later(1)
        MaintenanceWindow.objects.all().delete()
        BlindSpan.objects.filter(to_at__isnull=True).update(to_at=now)
        Silence.objects.filter(until_at__gt=now).delete()
        keep_mutes(self.later(1))
        assert not Incident.objects.exclude(muted_by="", untold="").exists()
        for incident in Incident.objects.filter(state="open"):
            assert incident.alerts.filter(deliveries__isnull=False).exists(), incident.uid


@pytest.fixture
def _populated() -> Iterator[None]:
    Life.town = build_town()
    Life.alice = Life.town.alice
    Life.town.person("Guard", SMS)
    for camera in (Life.town.gate, Life.town.yard):
        Source.objects.create(camera=camera, address="rtsp://192.0.2.1/live")
    assert Recipient.objects.count() == 1
    yield


@pytest.mark.usefixtures("_populated")
def test_no_path_loses_an_alert_acknowledges_by_itself_or_goes_backwards() -> None:
    profile = settings(
        max_examples=examples(25),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Life, settings=profile)

"""The outbox as a state machine: a provider, people and crashes do anything in any order, and the promise holds.

Never backwards, no alert lost on any path, at most one repetition. Against a real loopback Twilio, which answers,
refuses, cuts, reports late, twice and out of order.
"""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pytest_django import Settings

from alerts.delivery import cancel_unwanted, claim, deliver, expire_leases, resend_unknown
from alerts.incidents import IllegalTransition, acknowledge, record
from alerts.models import Alert, Contact, Delivery, Incident, Recipient
from alerts.notifiers import sms as sms_module
from alerts.notifiers.base import Report
from alerts.reconcile import follow_up, take_report
from streams.models import Camera
from tests.alerts.town import SMS, Town, at
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db

NEXT = {
    "queued": {"sending", "cancelled"},
    "sending": {"sent", "queued", "failed", "unknown", "cancelled"},
    "unknown": {"sent", "delivered", "failed"},
    "sent": {"delivered", "failed"},
    "delivered": set(),
    "failed": set(),
    "cancelled": set(),
}


def reachable(state: str) -> set[str]:
    """Every state that may follow in any number of steps, and the state itself."""
    found = {state}
    while new := {after for before in found for after in NEXT[before]} - found:
        found |= new
    return found


REACHABLE = {state: reachable(state) for state in NEXT}
CONTACTS = (SMS, ("sms", "+15005550012"))


def machine(town: Town, twilio: FakeTwilio) -> type[RuleBasedStateMachine]:
    """The machine over this town; every run of it begins with nothing told."""

    class Outbox(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            for model in (Incident, Contact, Recipient):
                model.objects.all().delete()
            twilio.requests.clear()
            twilio.kept.clear()
            twilio.script, twilio.mode, twilio.modes, twilio.asking = [], "accept", {}, "accept"
            town.person("Alice", *CONTACTS)
            self.t = 0.0
            self.seen: dict[int, str] = {}

        @property
        def now(self) -> datetime:
            return at(self.t)

        @rule(severity=st.sampled_from(["medium", "critical"]), many=st.booleans())
        def something_happens(self, severity: str, many: bool) -> None:
            for i in range(12 if many else 1):
                name = f"Camera {i}"
                given = {"site": town.site, "group": town.gate.group}
                camera = Camera.objects.get_or_create(name=name, defaults=given)[0]
                event = town.event(severity=severity, camera=camera.uid, happened_at=self.now, frame=None)
                record([event], now=self.now)

        @rule(answers=st.lists(st.sampled_from(["accept", "429", "503", "cut", "21610"]), max_size=4))
        def workers_run(self, answers: list[str]) -> None:
            twilio.script = list(answers)
            self._send()

        @rule(seconds=st.sampled_from([1, 10, 40, 70, 200]))
        def time_passes(self, seconds: int) -> None:
            self.t += seconds

        @rule()
        def the_sweep_turns(self) -> None:
            self._sweep()

        @rule()
        def a_worker_is_killed(self) -> None:
            for row in Delivery.objects.filter(state="queued")[:3]:
                claim(row.pk, "killed", self.now)

        @rule(
            status=st.sampled_from(["sent", "delivered", "undelivered", "failed"]),
            asking=st.sampled_from(["accept", "503"]),
        )
        def the_provider_is_asked(self, status: str, asking: str) -> None:
            for kept in twilio.kept:
                # As at the real one: what is over stays as it is.
                if kept.status in ("queued", "sent"):
                    kept.status = status
            twilio.asking = asking
            follow_up(self.now)

        @precondition(lambda self: twilio.kept)
        @rule(data=st.data(), standing=st.sampled_from(["accepted", "delivered", "failed"]))
        def the_provider_calls_back(self, data: st.DataObject, standing: str) -> None:
            kept = data.draw(st.sampled_from(twilio.kept))
            take_report("twilio", Report(kept.sid, standing, "Twilio: failed/30003"), self.now)  # type: ignore[arg-type]

        @precondition(lambda self: Incident.objects.filter(state="open").exists())
        @rule()
        def somebody_acknowledges(self) -> None:
            incident = Incident.objects.filter(state="open").order_by("pk")[0]
            acknowledge(incident.uid, by=None, through="screen", now=self.now)
            with pytest.raises(IllegalTransition):
                acknowledge(incident.uid, by=None, through="screen", now=self.now)

        @invariant()
        def nothing_goes_backwards(self) -> None:
            states = dict(Delivery.objects.values_list("pk", "state"))
            for key, before in self.seen.items():
                assert states[key] in REACHABLE[before], f"{before} → {states[key]}"
            self.seen = states

        @invariant()
        def nothing_is_repeated_twice(self) -> None:
            repeated = Delivery.objects.filter(resends__isnull=False)
            assert repeated.count() == repeated.values("resends").distinct().count()
            assert not repeated.filter(resends__resends__isnull=False).exists()

        def _send(self) -> None:
            for row in Delivery.objects.filter(state="queued", not_before_at__lte=self.now).order_by("pk"):
                deliver(row.uid, clock=lambda: self.now)

        def _sweep(self) -> None:
            for step in (cancel_unwanted, expire_leases, resend_unknown):
                step(self.now)

        def teardown(self) -> None:
            """Everything comes to an end, and no alert of an open incident is left without a way out."""
            twilio.script, twilio.mode, twilio.asking = [], "accept", "503"
            for _ in range(60):
                self.t += 20
                self._sweep()
                self._send()
                self.nothing_goes_backwards()
            assert not Delivery.objects.filter(state__in=("queued", "sending")).exists()
            self.nothing_is_repeated_twice()
            for alert in Alert.objects.filter(incident__state="open"):
                rows = list(Delivery.objects.filter(alert=alert))
                heard = any(row.state in ("sent", "delivered") for row in rows)
                tried = {row.contact_id for row in rows if row.state in ("failed", "unknown")}
                assert heard or len(tried) == len(CONTACTS) or any(row.state == "unknown" for row in rows), rows

    return Outbox


def test_the_promise_holds_whatever_happens(
    town: Town, twilio: FakeTwilio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TWILIO = twilio.settings
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.4)

    run_state_machine_as_test(machine(town, twilio), settings=PROFILE)


PROFILE = settings(
    max_examples=6,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

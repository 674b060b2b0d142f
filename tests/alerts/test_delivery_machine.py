"""The outbox as a state machine: a provider, people and crashes do anything in any order, and the promise holds.

Never backwards; no alert lost on any path; one message at most for each delivery, and one repetition of what may not
have arrived; nothing to whoever stopped it, sleeps, has it already or silenced it. Against a real loopback Twilio,
which answers, refuses, cuts, reports late, twice and out of order.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, time

import pytest
from django.conf import settings as django_settings
from django.db.models import F, Q
from hypothesis import HealthCheck
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from pytest_django import Settings

from alerts import auditor, links
from alerts.confirmation import opt_in, opt_out
from alerts.delivery import cancel_unwanted, claim, deliver, expire_leases, resend_unknown
from alerts.incidents import IllegalTransition, acknowledge, keep_mutes, record, reopen, resolve
from alerts.models import Alert, Contact, Delivery, Incident, IncidentTransition, Recipient, Silence
from alerts.notifiers import sms as sms_module
from alerts.notifiers.base import Message, Receipt, Report
from alerts.reconcile import follow_up, take_report
from alerts.silences import end_silence, make_silence
from alerts.telling import take_due_steps
from streams.models import Camera
from tests.alerts.town import SMS, Town, at, examples
from tests.services.twilio import Arrived, FakeTwilio

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(600)]

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
ALICE, BOB = (SMS, ("sms", "+15005550012")), ("sms", "+15005550077")
NUMBERS = [SMS[1], ALICE[1][1], BOB[1]]
WAKES_S = 3600.0
"""Bob sleeps until one, and it is noon."""
MANY = 12
"""More than a flood begins with."""
ANSWERS = ["accept", "429", "401", "503", "cut", "21610", "21211"]


class Killed(BaseException):
    """A worker is gone in the middle of sending: nothing after it is done, and nothing is caught."""


def about(message: Arrived) -> Alert | None:
    """The alert that a message's link stands for; None: it says several together."""
    token = re.search(r"/a/(\S+)", message.body)
    link = links.read(token[1], django_settings.SECRET_KEY) if token else None
    return Alert.objects.select_related("incident").get(pk=link.alert) if link else None


def machine(town: Town, twilio: FakeTwilio, patch: pytest.MonkeyPatch) -> type[RuleBasedStateMachine]:
    """The machine over this town; every run of it begins with nothing told."""

    class Outbox(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            for model in (Incident, Silence, Contact, Recipient):
                model.objects.all().delete()
            twilio.requests.clear()
            twilio.kept.clear()
            twilio.script, twilio.mode, twilio.modes, twilio.asking = [], "accept", {}, "accept"
            town.person("Alice", *ALICE)
            bob = town.person("Bob", BOB)
            bob.quiet_from, bob.quiet_until = time(11), time(13)
            bob.save()
            self.t = 0.0
            self.seen: dict[int, str] = {}
            self.steps = 0
            self.stopped: set[str] = set()

        @property
        def now(self) -> datetime:
            return at(self.t)

        # What happens

        @rule(severity=st.sampled_from(["medium", "critical"]), many=st.booleans())
        def something_happens(self, severity: str, many: bool) -> None:
            for i in range(MANY if many else 1):
                name = f"Camera {i}"
                given = {"site": town.site, "group": town.gate.group}
                camera = Camera.objects.get_or_create(name=name, defaults=given)[0]
                event = town.event(severity=severity, camera=camera.uid, happened_at=self.now, frame=None)
                record([event], now=self.now)

        @rule(seconds=st.sampled_from([0, 1, 10, 40, 70, 200]), answers=st.lists(st.sampled_from(ANSWERS), max_size=4))
        def time_passes(self, seconds: int, answers: list[str]) -> None:
            """The sweep turns, and whatever is due by then is sent."""
            self.t += seconds
            self._sweep()
            twilio.script = list(answers)
            self._send()

        @precondition(lambda self: self.t < WAKES_S)
        @rule()
        def bob_wakes(self) -> None:
            self._sweep()
            self.t = WAKES_S

        @rule(when=st.sampled_from(["before its words", "before it left", "after it was taken"]))
        def a_worker_is_killed(self, when: str) -> None:
            if when == "before its words":
                for row in Delivery.objects.filter(state="queued", not_before_at__lte=self.now)[:3]:
                    claim(row.pk, "elsewhere.0-1-x", self.now)
                return
            twilio.script = []
            with killing(patch, taken=when == "after it was taken"):
                self._send()

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

        # What people do

        @precondition(lambda self: Incident.objects.filter(state="open").exists())
        @rule(how=st.sampled_from(["acknowledge", "resolve"]))
        def somebody_has_it(self, how: str) -> None:
            incident = Incident.objects.filter(state="open").order_by("pk")[0]
            given = {"by": None, "through": "screen", "now": self.now}
            if how == "acknowledge":
                acknowledge(incident.uid, **given)
                with pytest.raises(IllegalTransition):
                    acknowledge(incident.uid, **given)
            else:
                resolve(incident.uid, disposition="confirmed", note="", **given)
            self.steps += 1

        @precondition(lambda self: Incident.objects.filter(state="resolved").exists())
        @rule()
        def it_was_not_over(self) -> None:
            incident = Incident.objects.filter(state="resolved").order_by("pk")[0]
            with contextlib.suppress(ValueError):  # its group has another by now
                reopen(incident.uid, by=None, note="It goes on.", through="screen", now=self.now)
                self.steps += 1

        @rule(seconds=st.sampled_from([30, 600]))
        def somebody_silences_a_camera(self, seconds: float) -> None:
            camera = Camera.objects.filter(name="Camera 0").first() or town.gate
            span = {"from_at": self.now, "until_at": at(self.t + seconds)}
            make_silence({"cameras": [str(camera.uid)]}, author=town.alice, reason="Works", now=self.now, **span)

        @precondition(lambda self: Silence.objects.filter(until_at__gt=self.now).exists())
        @rule()
        def somebody_ends_it(self) -> None:
            end_silence(Silence.objects.filter(until_at__gt=self.now)[0], by=town.alice, now=self.now)

        @rule(number=st.sampled_from(NUMBERS))
        def somebody_answers_stop(self, number: str) -> None:
            self.stopped.add(number)
            opt_out(Contact.objects.get(address=number), self.now)

        @rule(number=st.sampled_from(NUMBERS))
        def somebody_answers_start(self, number: str) -> None:
            opt_in(Contact.objects.get(address=number))

        # What must hold after each of it

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

        @invariant()
        def a_telephone_rings_once_for_each_delivery_at_most(self) -> None:
            begun = Delivery.objects.exclude(state__in=("queued", "cancelled")).filter(carried_by__isnull=True)
            rows = Counter(begun.filter(notifier="twilio").values_list("contact__address", flat=True))
            assert Counter(message.to for message in twilio.messages) <= rows

        @invariant()
        def nothing_moves_by_itself(self) -> None:
            steps = IncidentTransition.objects.filter(action="step").exclude(before="")
            assert steps.count() == self.steps
            assert set(steps.values_list("through", flat=True)) <= {"screen"}

        # Sending

        def _send(self) -> None:
            for row in Delivery.objects.filter(state="queued", not_before_at__lte=self.now).order_by("pk"):
                before = len(twilio.messages)
                unwanted = set(Contact.objects.filter(opted_out_at__isnull=False).values_list("address", flat=True))
                with contextlib.suppress(Killed):
                    deliver(row.uid, clock=lambda: self.now)
                for message in twilio.messages[before:]:
                    assert message.to not in unwanted
                    self._was_wanted(message)

        def _was_wanted(self, message: Arrived) -> None:
            alert = about(message)
            if alert is None:
                assert message.to != BOB[1] or self.t >= WAKES_S, "nothing critical is gathered"
                return
            incident = alert.incident
            assert not incident.muted_by
            assert incident.state == "open" or (incident.state == "acknowledged" and alert.reason in Alert.NEWS)
            assert message.to != BOB[1] or self.t >= WAKES_S or incident.severity == "critical"

        def _sweep(self) -> None:
            keep_mutes(self.now)
            for step in (cancel_unwanted, expire_leases, resend_unknown, take_due_steps):
                step(self.now)

        # The end

        def teardown(self) -> None:
            """Everything comes to an end, and no alert of an open incident is left without a way out."""
            twilio.script, twilio.mode, twilio.asking = [], "accept", "503"
            self.t = max(self.t, WAKES_S)
            for _ in range(20):
                self.t += 80
                self._sweep()
                self._send()
                self.nothing_goes_backwards()
            assert not Delivery.objects.filter(state__in=("queued", "sending")).exists()
            for holds in (
                self.nothing_is_repeated_twice,
                self.nothing_moves_by_itself,
                self.a_telephone_rings_once_for_each_delivery_at_most,
            ):
                holds()
            self._nobody_is_forgotten()

        def _nobody_is_forgotten(self) -> None:
            """What got out nowhere was tried on every way there is, twice where in doubt; and the auditor finds it."""
            usable = set(Contact.objects.usable().values_list("recipient", "pk"))
            # What was decided before a reopening, also in the same moment, was told anew by it.
            before = Q(created_at__lte=F("incident__reopened_at")) & ~Q(reason=Alert.Reason.REOPENED)
            alerts = Alert.objects.filter(incident__state="open").exclude(before)
            unheard = []
            for alert in alerts:
                rows = list(Delivery.objects.filter(alert=alert, state__in=("sent", "delivered", "failed", "unknown")))
                if any(row.state in ("sent", "delivered") for row in rows):
                    continue
                doubtful = [row for row in rows if row.state == "unknown"]
                tried = {(alert.recipient_id, row.contact_id) for row in rows}
                mine = {way for way in usable if way[0] == alert.recipient_id}
                assert all(row.resends_id or hasattr(row, "resent_as") for row in doubtful), rows
                assert self.stopped or doubtful or mine <= tried, rows
                unheard += rows
            assert bool(unheard) <= bool(list(auditor.unheard(at(self.t + 300))))

    return Outbox


@contextlib.contextmanager
def killing(patch: pytest.MonkeyPatch, *, taken: bool) -> Iterator[None]:
    """Whoever sends meanwhile is killed: when the provider has taken the message, or just before it leaves."""
    send = sms_module.Twilio.send

    def killed(self: sms_module.Twilio, message: Message) -> Receipt:
        if taken:
            send(self, message)
        raise Killed

    with patch.context() as patched:
        patched.setattr(sms_module.Twilio, "send", killed)
        yield


def test_the_promise_holds_whatever_happens(
    town: Town, twilio: FakeTwilio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TWILIO = twilio.settings
    monkeypatch.setattr(sms_module, "TIMEOUT_S", 0.4)
    runs = profile(
        max_examples=examples(20),
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(machine(town, twilio, monkeypatch), settings=runs)

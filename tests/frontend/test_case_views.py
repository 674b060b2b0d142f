"""The screens of an incident's life: back, away, notes, severity; silences and windows; opening by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone

from alerts.auditor import audit
from alerts.incidents import keep_mutes
from alerts.models import Alert, Incident, IncidentTransition, MaintenanceWindow, Silence
from frontend import queries
from frontend.models import ViewAudit
from streams.models import Camera, CameraGroup
from tests.frontend import seeding
from tests.frontend.seeding import Harbour
from tests.frontend.test_views import JSON, client_of, harbour, healthy, incident, now, text_of
from tests.town import new_incident

pytestmark = pytest.mark.django_db
__all__ = ("harbour", "healthy", "incident", "now")


def post(client: Client, incident: Incident, action: str, **body: Any) -> Any:
    return client.post(f"/incidents/{incident.uid}/{action}/", body, **JSON)


def pane(client: Client, incident: Incident) -> str:
    return text_of(client, f"/incidents/{incident.uid}/pane/")


@pytest.fixture
def alice(harbour: Harbour) -> Client:
    return client_of(harbour.alice)


@pytest.fixture
def ada(harbour: Harbour) -> Client:
    return client_of(seeding.make_person("ada", "administrator", ("Ada", "Lin"), []))


# Going back, giving away, notes, judging


def test_it_opens_again_and_its_history_says_who_and_why(harbour: Harbour, incident: Incident, alice: Client) -> None:
    post(alice, incident, "resolve", disposition="handed_over", handed_to="police")
    assert "Handed over: police" in pane(alice, incident)
    assert "Open again" in pane(alice, incident)
    assert post(alice, incident, "reopen", note="He is back.").status_code == 204
    page = pane(alice, incident)
    for said in ('data-state="open"', "Opened again by Alice Chen", "He is back.", "Resolved by Alice Chen"):
        assert said in page
    assert "Handed over: police" not in page
    assert Alert.objects.filter(reason="reopened").count() == 2


def test_what_no_rule_opened_does_not_say_that_a_rule_fired(harbour: Harbour, incident: Incident, ada: Client) -> None:
    assert "The rule fired" in pane(ada, incident)
    Incident.objects.filter(pk=incident.pk).update(next_step_at=timezone.now() - timedelta(minutes=5))
    audit(timezone.now())
    found = pane(ada, Incident.objects.get(kind="system", label="stopped"))
    assert "Found when Poliscope checked itself" in found and "The rule fired" not in found
    for kind, through, said in (
        ("site-outage", "engine", "No camera of the site answered any more"),
        ("report", "screen", "Opened<"),  # by somebody whose account is gone
    ):
        other = new_incident(harbour.cameras[0], harbour.site, kind=kind, label=kind)
        other.transitions.create(at=timezone.now(), after="open", through=through)
        page = pane(ada, other)
        assert f"<span>{said}" in page and "The rule fired" not in page


def test_it_does_not_open_again_without_a_reason_or_beside_another(incident: Incident, alice: Client) -> None:
    post(alice, incident, "resolve", disposition="test")
    assert post(alice, incident, "reopen", note=" ").json()["sentence"] == "Say why it is open again."
    Incident.objects.create(
        **{
            name: getattr(incident, name)
            for name in ("group_key", "severity", "kind", "site", "happened_at", "opened_at", "last_event_at")
        }
    )
    response = post(alice, incident, "reopen", note="Back.")
    assert (response.status_code, response.json()["sentence"]) == (
        409,
        "It happened again since: go on with the incident that is there.",
    )


def test_it_is_given_to_a_colleague_and_waits_for_them(harbour: Harbour, incident: Incident, alice: Client) -> None:
    assert post(alice, incident, "assign", to=str(harbour.bob.uid), note="You are nearer.").status_code == 204
    incident.refresh_from_db()
    assert (incident.state, incident.owner) == ("open", harbour.bob)
    page = pane(alice, incident)
    for said in ("Open, given to Bob Lin", "Alice Chen gave it to Bob Lin", "You are nearer."):
        assert said in page
    assert "for you" in text_of(client_of(harbour.bob), "/room/queue/?show=mine")
    assert "for Bob Lin" in text_of(alice, "/room/queue/")
    assert (queries.counts(harbour.bob).mine, queries.counts(harbour.bob).waiting) == (1, 1)


def test_whoever_gives_an_open_one_to_themselves_has_it(harbour: Harbour, incident: Incident, alice: Client) -> None:
    post(alice, incident, "assign", to=str(harbour.alice.uid))
    incident.refresh_from_db()
    assert (incident.state, incident.owner, incident.acknowledged_by) == ("acknowledged", harbour.alice, harbour.alice)


def test_what_one_has_goes_over_to_another(harbour: Harbour, incident: Incident, alice: Client) -> None:
    post(alice, incident, "acknowledge")
    post(alice, incident, "assign", to=str(harbour.bob.uid))
    assert "Bob Lin has it" in pane(alice, incident)
    assert str(incident.uid) in text_of(client_of(harbour.bob), "/room/queue/?show=mine")
    assert str(incident.uid) not in text_of(alice, "/room/queue/?show=mine")


@pytest.mark.parametrize("who", ["charlie", "olga"])
def test_nobody_is_given_what_they_may_not_handle(
    harbour: Harbour, incident: Incident, alice: Client, who: str
) -> None:
    assert post(alice, incident, "assign", to=str(getattr(harbour, who).uid)).status_code == 422
    assert not IncidentTransition.objects.filter(action="assign").exists()


def test_notes_stay(incident: Incident, alice: Client) -> None:
    assert post(alice, incident, "note", note="Two men, <b>one</b> ladder.").status_code == 204
    post(alice, incident, "resolve", disposition="confirmed")
    post(alice, incident, "note", note="Police ref. 77")
    page = pane(alice, incident)
    for said in ("Two men, &lt;b&gt;one&lt;/b&gt; ladder.", "Police ref. 77", "Note by Alice Chen"):
        assert said in page
    assert post(alice, incident, "note", note=" ").status_code == 422


def test_it_is_judged_with_a_reason(incident: Incident, alice: Client) -> None:
    assert post(alice, incident, "severity", severity="low", note="A gardener.").status_code == 204
    page = pane(alice, incident)
    assert "Critical → Low, by Alice Chen" in page
    assert "A gardener." in page
    for body in ({"severity": "low"}, {"severity": "dire", "note": "x"}):
        assert post(alice, incident, "severity", **body).status_code == 422


def test_what_was_not_done_on_the_screen_says_so(harbour: Harbour, incident: Incident, alice: Client) -> None:
    for through, said in (("sms", "by SMS"), ("link", "by the link in the message"), ("api", "by a program")):
        IncidentTransition.objects.create(
            incident=incident, at=timezone.now(), before="open", after="acknowledged", by=harbour.bob, through=through
        )
        assert said in pane(alice, incident)


@pytest.mark.parametrize("action", ["reopen", "assign", "note", "severity", "silence"])
def test_each_of_it_is_an_operator_s_and_nobody_else_s(harbour: Harbour, incident: Incident, action: str) -> None:
    body = {"note": "x", "severity": "low", "to": str(harbour.bob.uid), "scope": "camera", "span": "1", "reason": "x"}
    assert post(client_of(harbour.charlie), incident, action, **body).status_code == 404
    assert post(client_of(harbour.olga), incident, action, **body).status_code in (403, 422)
    assert not ViewAudit.objects.exists()
    assert not Silence.objects.exists()


def test_it_says_how_often_and_when_last(incident: Incident, alice: Client) -> None:
    Incident.objects.update(event_count=15)
    page = pane(alice, incident)
    assert "14 times" in page
    assert "the last time" in page


# Silences


def silenced(alice: Client, incident: Incident, **changes: Any) -> Any:
    return post(alice, incident, "silence", **{"scope": "camera", "span": "1", "reason": "Painters"} | changes)


def test_a_camera_is_silenced_beside_its_incident(harbour: Harbour, incident: Incident, alice: Client) -> None:
    assert silenced(alice, incident).status_code == 204
    made = Silence.objects.get()
    assert (made.matchers["cameras"], made.author) == ([str(harbour.cameras[0].uid)], harbour.alice)
    assert timedelta(minutes=59) < made.until_at - timezone.now() <= timedelta(hours=1)
    page = pane(alice, incident)
    for said in ("Silenced by Alice Chen until", "Painters", "Nothing more is sent meanwhile.", "End it now"):
        assert said in page
    assert "next step in" not in page
    assert "silence" in text_of(alice, "/room/queue/")
    assert list(ViewAudit.objects.values_list("action", flat=True)) == ["silence"]


def test_what_is_muted_makes_no_sound_and_waits_behind_the_rest(harbour: Harbour, alice: Client, now: datetime) -> None:
    loud = seeding.make_incident(harbour, 1, now - timedelta(hours=2))
    muted = seeding.make_incident(harbour, 0, now)
    silenced(alice, muted)
    assert queries.counts(harbour.alice).newest == str(loud.uid)
    assert queries.counts(harbour.alice).waiting == 2
    page = text_of(alice, "/room/queue/")
    assert page.index(str(loud.uid)) < page.index(str(muted.uid))


def test_until_it_is_resolved_is_until_then(incident: Incident, alice: Client) -> None:
    silenced(alice, incident, span="resolved", scope="rule")
    made = Silence.objects.get()
    assert (made.ends_with, made.matchers["rules"]) == (incident, [str(incident.rule.uid)])  # type: ignore[union-attr]
    post(alice, incident, "resolve", disposition="test")
    assert "Over" in text_of(alice, "/silences/")


@pytest.mark.parametrize("changes", [{"scope": "world"}, {"span": "900"}, {"reason": " "}])
def test_a_silence_of_nothing_or_for_no_reason_is_refused(
    incident: Incident, alice: Client, changes: dict[str, str]
) -> None:
    assert silenced(alice, incident, **changes).status_code == 422
    assert not Silence.objects.exists()


def test_a_site_is_silenced_only_by_whoever_sees_all_of_it(harbour: Harbour, incident: Incident, alice: Client) -> None:
    assert "All of Harbour City" in pane(alice, incident)
    Camera.objects.create(name="Vault", site=harbour.site, group=CameraGroup.objects.create(name="Closed"))
    assert "All of Harbour City" not in pane(alice, incident)
    assert silenced(alice, incident, scope="site").status_code == 422


def test_the_page_lists_them_and_ends_them(harbour: Harbour, incident: Incident, alice: Client) -> None:
    assert "Nothing. Everything that happens is told." in text_of(alice, "/silences/")
    silenced(alice, incident)
    made = Silence.objects.get()
    page = text_of(alice, "/silences/")
    for said in ("North gate", "Painters", "Alice Chen", "1 incident is muted now", "ends in"):
        assert said in page
    assert "North gate" not in text_of(client_of(harbour.charlie), "/silences/")
    assert "End it now" not in text_of(client_of(harbour.olga), "/silences/")
    assert client_of(harbour.charlie).post(f"/silences/{made.uid}/end/").status_code == 404
    back = alice.post(f"/silences/{made.uid}/end/", {"next": f"/incidents/{incident.uid}/"})
    assert back.headers["Location"] == f"/incidents/{incident.uid}/"
    assert alice.post(f"/silences/{made.uid}/end/", {"next": "//evil.example/"}).headers["Location"] == "/silences/"
    page = text_of(alice, "/silences/")
    assert "ended by Alice Chen" in page
    assert "muted now" not in page


def test_one_is_made_and_changed_on_its_own_page(harbour: Harbour, alice: Client) -> None:
    page = text_of(alice, "/silences/new/")
    assert "Roof west · Harbour City" in page
    local = timezone.now().astimezone(ZoneInfo("Asia/Taipei"))
    body = {
        "reason": "Painters",
        "from_at": f"{local:%Y-%m-%dT%H:%M}",
        "until_at": f"{local + timedelta(hours=3):%Y-%m-%dT%H:%M}",
        "cameras": [harbour.cameras[3].pk],
        "severities": ["low", "medium"],
    }
    assert alice.post("/silences/new/", body).headers["Location"] == "/silences/"
    made = Silence.objects.get()
    assert (made.matchers["cameras"], made.matchers["severities"]) == ([str(harbour.cameras[3].uid)], ["low", "medium"])
    assert "Roof west · Low, Medium" in text_of(alice, "/silences/")
    change = {"reason": "Roofers", "until_at": f"{local + timedelta(hours=5):%Y-%m-%dT%H:%M}"}
    alice.post(f"/silences/{made.uid}/", change)
    made.refresh_from_db()
    assert (made.reason, made.until_at - timezone.now() > timedelta(hours=4)) == ("Roofers", True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cameras": []}, "Choose a site, a camera, a rule or how bad"),
        ({"cameras": [], "severities": ["low"]}, "Choose cameras, or sites of which you see every camera."),
        ({"until_at": "2020-01-01T00:00"}, "It must end after it begins"),
        ({"until_at": "2199-01-01T00:00"}, "At most 30 days"),
        ({"reason": ""}, "This field is required"),
    ],
)
def test_its_page_says_what_is_missing(harbour: Harbour, alice: Client, changes: dict[str, Any], said: str) -> None:
    later = timezone.now() + timedelta(hours=9)
    body = {
        "reason": "x", "from_at": "2026-01-01T00:00", "until_at": f"{later:%Y-%m-%dT%H:%M}",
        "cameras": [harbour.cameras[0].pk],
    }  # fmt: skip
    assert said in alice.post("/silences/new/", body | changes).content.decode()
    assert not Silence.objects.exists()


def test_an_observer_makes_none(harbour: Harbour) -> None:
    assert client_of(harbour.olga).get("/silences/new/").status_code == 404


# Maintenance windows


def window(harbour: Harbour, **changes: Any) -> dict[str, Any]:
    given = {"name": "Fire drill", "site": harbour.site.pk, "enabled": "on", "days_1": list(range(7))}
    return given | {"from_1": "00:00", "until_1": "00:00", "from_2": "", "until_2": ""} | changes


def test_an_administrator_makes_a_window_and_it_mutes(harbour: Harbour, ada: Client, alice: Client) -> None:
    assert ada.post("/silences/windows/new/", window(harbour)).headers["Location"] == "/silences/"
    made = MaintenanceWindow.objects.get()
    page = text_of(alice, "/silences/")
    assert "Fire drill" in page
    assert "all day" in page and "(Asia/Taipei)" in page
    muted = seeding.make_incident(harbour, 0, timezone.now(), sent=False)
    Incident.objects.filter(pk=muted.pk).update(muted_by="window", muted_window=made, untold="opened")
    assert "Maintenance: Fire drill" in pane(alice, muted)
    ada.post(f"/silences/windows/{made.uid}/", window(harbour, enabled=""))
    muted.refresh_from_db()
    assert muted.muted_by == ""
    assert Alert.objects.filter(incident=muted, reason="opened").count() == 2
    assert "switched off" in text_of(alice, "/silences/")
    ada.post(f"/silences/windows/{made.uid}/delete/")
    assert not MaintenanceWindow.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"days_1": []}, "Choose at least one day."),
        ({"from_1": "25:00"}, "Write a time as 22:00"),
        ({"name": ""}, "This field is required"),
        ({"from_1": "sunset"}, "latitude and longitude"),
    ],
)
def test_a_window_that_never_opens_is_refused(
    harbour: Harbour, ada: Client, changes: dict[str, Any], said: str
) -> None:
    assert said in ada.post("/silences/windows/new/", window(harbour, **changes)).content.decode()
    assert not MaintenanceWindow.objects.exists()


def test_windows_are_the_administrators(harbour: Harbour, alice: Client) -> None:
    assert alice.get("/silences/windows/new/").status_code == 404
    assert alice.post("/silences/windows/new/", window(harbour)).status_code == 404


def test_a_window_keeps_what_its_form_does_not_show(harbour: Harbour, ada: Client) -> None:
    spans = [{"days": [day], "from": "01:00", "until": "02:00"} for day in range(3)]
    made = MaintenanceWindow.objects.create(name="Old", site=harbour.site, schedule=spans, created_at=datetime.now(UTC))
    ada.post(f"/silences/windows/{made.uid}/", window(harbour, name="New", days_1=[6], days_2=[5], from_2="03:00"))
    made.refresh_from_db()
    assert [span["days"] for span in made.schedule] == [[6], [5], [2]]


# By hand


def test_a_person_opens_an_incident_and_tells_whom_they_choose(harbour: Harbour, alice: Client) -> None:
    text_of(alice, "/incidents/new/")
    body = {
        "title": "Water in the lobby", "severity": "high", "site": harbour.site.pk, "note": "Third floor",
        "recipients": [harbour.recipients[0].pk],
    }  # fmt: skip
    response = alice.post("/incidents/new/", body)
    opened = Incident.objects.get()
    assert response.headers["Location"] == f"/incidents/{opened.uid}/"
    assert [alert.recipient for alert in Alert.objects.all()] == [harbour.recipients[0]]
    page = pane(alice, opened)
    for said in ("Water in the lobby", "Opened by Alice Chen", "Third floor", "There is no picture of this."):
        assert said in page
    assert ViewAudit.objects.get().action == "open"
    assert "Water in the lobby" in text_of(client_of(harbour.bob), "/room/queue/")


def test_it_says_what_is_missing_and_opens_nothing(harbour: Harbour, alice: Client) -> None:
    page = alice.post("/incidents/new/", {"title": "", "severity": "high", "site": harbour.site.pk}).content.decode()
    assert "This field is required" in page
    assert not Incident.objects.exists()


def test_an_observer_opens_none(harbour: Harbour) -> None:
    assert client_of(harbour.olga).get("/incidents/new/").status_code == 404
    assert "New incident" not in text_of(client_of(harbour.olga), "/")


def test_a_site_outage_says_what_it_is(harbour: Harbour, alice: Client, now: datetime) -> None:
    outage = Incident.objects.create(
        group_key="outage", kind="site-outage", label="site-outage", severity="high", site=harbour.site,
        happened_at=now, opened_at=now, last_event_at=now,
    )  # fmt: skip
    outage.cameras.set(harbour.cameras)
    assert "No camera of “Harbour City” answers" in pane(alice, outage)
    keep_mutes(now)
    assert str(outage.uid) in text_of(alice, "/room/queue/")

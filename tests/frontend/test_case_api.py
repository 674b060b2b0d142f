"""An incident's life and silences over HTTP: what programs may do, what they get, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from alerts.models import Event, Incident, IncidentTransition, MaintenanceWindow, Recipient, Silence
from alerts.muting import Matchers
from frontend import queries
from frontend.models import ViewAudit
from frontend.permissions import concerns, may_silence, owners_for, visible_incidents
from tests.frontend.test_api import Ask, ask
from tests.town import NOW, Town, build_town, new_incident

pytestmark = pytest.mark.django_db
__all__ = ("ask",)


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def incident(town: Town) -> Incident:
    return new_incident(town.gate, town.site)


def soon(hours: float = 1) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


def silencing(town: Town, **changes: Any) -> dict[str, Any]:
    given = {"matchers": {"cameras": [str(town.gate.uid)]}, "reason": "Painters", "until_at": soon()}
    return given | changes


# An incident's life


def test_it_goes_all_the_way_and_back(town: Town, ask: Ask, incident: Incident) -> None:
    steps: list[tuple[str, Any, str]] = [
        ("acknowledge", None, "acknowledged"),
        ("resolve", {"disposition": "handed_over", "handed_to": "fire"}, "resolved"),
        ("reopen", {"note": "It smokes again."}, "open"),
    ]
    for action, body, state in steps:
        status, answer = ask(town.alice, f"incidents/{incident.uid}/{action}", body, "POST")
        assert (status, answer["state"]) == (200, state), action
    assert (answer["handed_to"], answer["owner"], answer["acknowledged_by"]) == (None, None, None)
    assert answer["reopened_at"] is not None
    assert [(line["before"], line["after"]) for line in answer["transitions"]] == [
        ("open", "acknowledged"),
        ("acknowledged", "resolved"),
        ("resolved", "open"),
    ]
    assert list(ViewAudit.objects.values_list("action", flat=True)) == ["acknowledge", "resolve", "reopen"]


def test_what_people_say_stands_in_its_history_and_not_among_its_steps(
    town: Town, ask: Ask, incident: Incident
) -> None:
    base = f"incidents/{incident.uid}"
    assert ask(town.alice, f"{base}/notes", {"note": "Two men."}, "POST")[0] == 200
    assert ask(town.alice, f"{base}/assign", {"to": "bob", "note": "Yours."}, "POST")[1]["owner"] == "bob"
    status, answer = ask(town.alice, f"{base}/severity", {"severity": "low", "note": "Gardeners."}, "POST")
    assert (status, answer["severity"], answer["state"]) == (200, "low", "open")
    assert answer["transitions"] == []
    told = [(line["action"], line["by"], line["to"], line["note"], line["through"]) for line in answer["history"]]
    assert told == [
        ("note", "alice", None, "Two men.", "api"),
        ("assign", "alice", "bob", "Yours.", "api"),
        ("severity", "alice", None, "Gardeners.", "api"),
    ]


@pytest.mark.parametrize(
    ("action", "body", "status"),
    [
        ("reopen", {"note": "x"}, 409),
        ("reopen", {}, 422),
        ("reopen", {"note": " "}, 422),
        ("assign", {"to": "charlie"}, 422),
        ("assign", {"to": "olive"}, 422),
        ("notes", {"note": ""}, 422),
        ("notes", {"note": " "}, 422),
        ("severity", {"severity": "dire", "note": "x"}, 422),
        ("severity", {"severity": "low", "note": " "}, 422),
        ("resolve", {"disposition": "test", "handed_to": "police"}, 422),
    ],
)
def test_what_is_refused_changes_nothing(
    town: Town, ask: Ask, incident: Incident, action: str, body: Any, status: int
) -> None:
    found, answer = ask(town.alice, f"incidents/{incident.uid}/{action}", body, "POST")
    assert found == status, answer
    assert set(answer["error"]) == {"code", "message"}
    assert not IncidentTransition.objects.exists()
    assert not ViewAudit.objects.exists()


@pytest.mark.parametrize("action", ["reopen", "assign", "notes", "severity"])
def test_an_observer_may_not_and_an_outsider_sees_nothing(
    town: Town, ask: Ask, incident: Incident, action: str
) -> None:
    body = {"note": "x", "to": "bob", "severity": "low"}
    assert ask(town.olive, f"incidents/{incident.uid}/{action}", body, "POST")[0] == 403
    assert ask(town.charlie, f"incidents/{incident.uid}/{action}", body, "POST")[0] == 404


def test_it_is_not_opened_again_beside_another_of_its_group(town: Town, ask: Ask) -> None:
    first = new_incident(town.gate, town.site, group_key="g", state="resolved")
    other = new_incident(town.gate, town.site, group_key="g")
    status, answer = ask(town.alice, f"incidents/{first.uid}/reopen", {"note": "x"}, "POST")
    assert (status, answer["error"]["code"]) == (409, "conflict")
    assert str(other.uid) in answer["error"]["message"]


# Reports


def test_another_system_reports_and_reports_again(town: Town, ask: Ask) -> None:
    guard = Recipient.objects.create(name="Guard")
    body = {
        "title": "Smoke detector 4", "severity": "critical", "camera": str(town.gate.uid), "kind": "fire-panel",
        "key": "77", "group": "loop 1", "tell": [str(guard.uid)], "note": "First floor",
    }  # fmt: skip
    status, first = ask(town.alice, "incidents", body, "POST")
    assert (status, first["title"], first["state"], first["kind"]) == (201, "Smoke detector 4", "open", "fire-panel")
    assert [recipient.name for recipient in Incident.objects.get().recipients.all()] == ["Guard"]
    assert ask(town.alice, "incidents", body, "POST")[1]["event_count"] == 1
    again = ask(town.alice, "incidents", body | {"key": "78"}, "POST")[1]
    assert (again["uid"], again["event_count"]) == (first["uid"], 2)


def test_one_about_a_site_is_seen_by_whoever_sees_a_camera_of_it(town: Town, ask: Ask) -> None:
    body = {"title": "Power is out", "severity": "high", "site": str(town.site.uid)}
    status, answer = ask(town.alice, "incidents", body, "POST")
    assert (status, answer["camera"], {one["name"] for one in answer["cameras"]}) == (201, None, {"Gate"})
    assert ask(town.charlie, f"incidents/{answer['uid']}")[0] == 200


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 422),
        ({"site": "S", "camera": "G"}, 422),
        ({"camera": "Y"}, 404),
        ({"camera": str(uuid4())}, 404),
        ({"site": str(uuid4())}, 404),
        ({"camera": "G", "tell": [str(uuid4())]}, 422),
        ({"camera": "G", "happened_at": "2026-03-01T12:00:00"}, 422),
        ({"camera": "G", "happened_at": "2126-03-01T12:00:00Z"}, 422),
        ({"camera": "G", "kind": "Fire Panel"}, 422),
        ({"camera": "G", "title": " "}, 422),
    ],
)
def test_a_report_that_says_no_place_or_a_wrong_one_is_refused(
    town: Town, ask: Ask, changes: dict[str, Any], status: int
) -> None:
    names = {"S": str(town.site.uid), "G": str(town.gate.uid), "Y": str(town.yard.uid)}
    body = {"title": "x", "severity": "low"} | {key: names.get(str(value), value) for key, value in changes.items()}
    assert ask(town.alice, "incidents", body, "POST")[0] == status
    assert not Incident.objects.exists()


# Silences


def test_a_silence_is_made_shown_changed_and_ended(town: Town, ask: Ask, incident: Incident) -> None:
    status, made = ask(town.alice, "silences", silencing(town), "POST")
    assert (status, made["phase"], made["author"], made["reason"]) == (201, "active", "alice", "Painters")
    assert [one["uid"] for one in ask(town.olive, "silences")[1]] == [made["uid"]]
    muted = ask(town.olive, f"incidents/{incident.uid}")[1]["muted"]
    assert (muted["by"], muted["reason"], muted["author"], muted["untold"]) == ("silence", "Painters", "alice", False)

    status, changed = ask(town.bob, f"silences/{made['uid']}", {"reason": "Painters, floor 2"}, "PATCH")
    assert (status, changed["reason"], changed["until_at"]) == (200, "Painters, floor 2", made["until_at"])
    status, ended = ask(town.bob, f"silences/{made['uid']}/end", method="POST")
    assert (status, ended["phase"], ended["ended_by"]) == (200, "ended", "bob")
    assert ask(town.bob, f"silences/{made['uid']}/end", method="POST")[1]["until_at"] == ended["until_at"]
    assert ask(town.bob, f"silences/{made['uid']}", {"reason": "x"}, "PATCH")[0] == 422
    assert ask(town.alice, f"incidents/{incident.uid}")[1]["muted"] is None
    assert ask(town.alice, "silences")[1] == []
    assert [one["uid"] for one in ask(town.alice, "silences?phase=ended")[1]] == [made["uid"]]


@pytest.mark.parametrize(
    ("who", "changes", "status"),
    [
        ("alice", {"matchers": {}}, 422),
        ("alice", {"matchers": {"colours": ["red"]}}, 422),
        ("alice", {"matchers": {"labels": ["person"]}}, 403),
        ("alice", {"matchers": {"sites": ["S"]}}, 403),
        ("ada", {"matchers": {"sites": ["S"]}}, 201),
        ("ada", {"matchers": {"severities": ["low"]}}, 201),
        ("charlie", {}, 403),
        ("olive", {}, 403),
        ("alice", {"until_at": "2020-01-01T00:00:00Z"}, 422),
        ("alice", {"until_at": "2026-03-01T12:00:00"}, 422),
        ("alice", {"reason": ""}, 422),
        ("alice", {"ends_with": str(uuid4())}, 404),
    ],
)
def test_who_may_silence_what(town: Town, ask: Ask, who: str, changes: dict[str, Any], status: int) -> None:
    body = silencing(town, **changes)
    if body["matchers"].get("sites"):
        body["matchers"] = {"sites": [str(town.site.uid)]}
    assert ask(getattr(town, who), "silences", body, "POST")[0] == status
    assert Silence.objects.exists() == (status == 201)


def test_a_silence_of_what_one_does_not_see_is_not_there(town: Town, ask: Ask) -> None:
    made = ask(town.alice, "silences", silencing(town), "POST")[1]
    assert ask(town.charlie, "silences")[1] == []
    assert ask(town.charlie, f"silences/{made['uid']}/end", method="POST")[0] == 404
    assert ask(town.olive, f"silences/{made['uid']}/end", method="POST")[0] == 403


def test_windows_are_shown_where_their_site_is(town: Town, ask: Ask) -> None:
    spans = [{"days": [6], "from": "02:00", "until": "04:00"}]
    MaintenanceWindow.objects.create(name="Tests", site=town.site, schedule=spans, created_at=datetime.now(UTC))
    (shown,) = ask(town.alice, "windows")[1]
    assert (shown["name"], shown["time_zone"], shown["spans"]) == ("Tests", "Asia/Taipei", spans)


# The door


def test_an_incident_is_seen_through_any_of_its_cameras(town: Town) -> None:
    shared = new_incident(town.gate, town.site)
    assert not visible_incidents(town.charlie).exists()
    shared.cameras.add(town.yard)
    assert visible_incidents(town.charlie).get() == shared
    assert visible_incidents(town.alice).count() == 1


def test_a_shared_incident_names_no_camera_that_is_not_one_s_own(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    incident.cameras.add(town.yard)
    for answer in (ask(town.charlie, f"incidents/{incident.uid}")[1], ask(town.charlie, "incidents")[1]["items"][0]):
        assert (answer["camera"], [one["name"] for one in answer["cameras"]]) == (None, ["Yard"])
    answer = ask(town.alice, f"incidents/{incident.uid}")[1]
    assert (answer["camera"]["name"], answer["cameras"]) == ("Gate", [])
    shown = queries.incident(town.charlie, incident.uid)
    assert shown is not None
    assert (shown.camera, list(shown.cameras.all())) == (None, [town.yard])


def test_of_a_shared_incident_one_sees_the_events_of_one_s_own_cameras(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    incident.cameras.add(town.yard)
    gate, yard = (
        Event.objects.create(
            uid=uuid4(), kind="presence", severity="high", camera=camera, incident=incident,
            happened_at=NOW, known_at=NOW, content={},
        )
        for camera in (town.gate, town.yard)
    )  # fmt: skip
    seen = ask(town.charlie, f"incidents/{incident.uid}")[1]["events"]
    assert [event["uid"] for event in seen] == [str(yard.uid)]
    assert [event["uid"] for event in ask(town.alice, f"incidents/{incident.uid}")[1]["events"]] == [str(gate.uid)]


def test_it_is_given_only_to_those_who_see_it_and_may_act(town: Town, incident: Incident) -> None:
    assert {person.username for person in owners_for(incident)} == {"ada", "alice", "bob"}


def test_what_mutes_is_known_to_whom_it_concerns(town: Town) -> None:
    gate, site, labels = Matchers(cameras=[town.gate.uid]), Matchers(sites=[town.site.uid]), Matchers(labels=["car"])
    assert [concerns(town.charlie, one) for one in (gate, site, labels)] == [False, True, True]
    assert [may_silence(town.charlie, one) for one in (gate, site, labels)] == [False, False, False]

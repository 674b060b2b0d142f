"""The API over HTTP: what comes, in which order, for whom; and one shape for every error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from alerts.incidents import acknowledge
from alerts.models import Event, Incident
from frontend import health_tail, tokens
from frontend.models import User, ViewAudit
from streams.health import Health, Heartbeat, PartHealth
from streams.models import BlindSpan
from tests.town import NOW, Town, build_town, new_incident

pytestmark = pytest.mark.django_db

Ask = Callable[..., Any]


@pytest.fixture(autouse=True)
def _static_folder(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path  # WhiteNoise warns of a missing one


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def ask() -> Ask:
    """``ask(user, path, body?, method?)`` → (status, JSON). ``user`` None: no token."""

    def asked(user: User | None, path: str, body: Any = None, method: str = "GET") -> tuple[int, Any]:
        headers = {} if user is None else {"Authorization": f"Bearer {tokens.create(user, 'test')[1]}"}
        response = Client(headers=headers).generic(
            method,
            f"/api/v1/{path}",
            b"" if body is None else json.dumps(body),
            content_type="application/json",
        )
        return response.status_code, response.json()

    return asked


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Health]:
    """Heartbeats that were received, judged at NOW."""
    health = Health(expected=("capture", "evaluate"))
    for part in ("capture", "evaluate"):
        health.record(Heartbeat(part=part, instance="one", at=NOW - timedelta(seconds=1), lag=3))
    found: Callable[[datetime], list[PartHealth]] = lambda now: health.parts(NOW)  # noqa: E731
    monkeypatch.setattr(health_tail, "parts", found)
    yield health


def test_an_acknowledgement_that_comes_a_moment_after_another_is_answered_as_done(
    town: Town, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = new_incident(town.gate, town.site)

    def bob_is_faster(uid: UUID, **given: Any) -> Any:
        acknowledge(uid, **{**given, "by": town.bob})
        return acknowledge(uid, **given)

    monkeypatch.setattr("frontend.api.incidents.acknowledge", bob_is_faster)
    status, answer = ask(town.alice, f"incidents/{incident.uid}/acknowledge", method="POST")
    assert (status, answer["state"], answer["acknowledged_by"]) == (200, "acknowledged", "bob")
    assert not ViewAudit.objects.filter(action="acknowledge").exists()


def test_a_note_may_hold_any_character(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    body = {"disposition": "false", "note": "a\0 cat"}
    status, answer = ask(town.alice, f"incidents/{incident.uid}/resolve", body, "POST")
    assert (status, answer["transitions"][-1]["note"]) == (200, "a cat")


def seen(answer: Any) -> list[int]:
    return [item["change"] for item in answer["items"]]


def test_it_lists_incidents_in_the_order_of_their_changes(town: Town, ask: Ask) -> None:
    for change in (30, 10, 20):
        new_incident(town.gate, town.site, change=change)
    status, answer = ask(town.alice, "incidents")
    assert (status, seen(answer), answer["next"]) == (200, [10, 20, 30], None)


def test_it_says_what_when_and_where_and_never_an_integer_key(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site, change=1, zone_name="Lane")
    _status, answer = ask(town.alice, "incidents")
    assert answer["items"] == [
        {
            "uid": str(incident.uid),
            "change": 1,
            "state": "open",
            "severity": "high",
            "kind": "presence",
            "label": "person",
            "title": "",
            "site": {"uid": str(town.site.uid), "name": "Harbour"},
            "time_zone": "Asia/Taipei",
            "camera": {"uid": str(town.gate.uid), "name": "Gate"},
            "cameras": [],
            "rule": None,
            "zone": "Lane",
            "happened_at": "2026-03-01T12:00:00Z",
            "opened_at": "2026-03-01T12:00:00Z",
            "last_event_at": "2026-03-01T12:00:00Z",
            "event_count": 1,
            "late": False,
            "owner": None,
            "muted": None,
            "reopened_at": None,
            "acknowledged_at": None,
            "acknowledged_by": None,
            "resolved_at": None,
            "resolved_by": None,
            "disposition": None,
            "false_reason": None,
            "handed_to": None,
        }
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
def test_pages_lose_and_repeat_nothing_even_when_changes_are_shared(town: Town, ask: Ask, limit: int) -> None:
    uids = [str(new_incident(town.gate, town.site, change=change).uid) for change in (1, 2, 2, 2, 3, 3, 4)]
    found: list[str] = []
    after = ""
    while True:
        _status, answer = ask(town.alice, f"incidents?limit={limit}&after={after}")
        found += [item["uid"] for item in answer["items"]]
        if answer["next"] is None:
            break
        after = answer["next"]
    assert sorted(found) == sorted(uids)


def test_a_follower_asks_for_what_came_after_a_change(town: Town, ask: Ask) -> None:
    for change in (1, 2, 3):
        new_incident(town.gate, town.site, change=change)
    assert seen(ask(town.alice, "incidents?after=2")[1]) == [3]


def test_it_filters_by_state(town: Town, ask: Ask) -> None:
    new_incident(town.gate, town.site, change=1)
    new_incident(town.gate, town.site, change=2, state="resolved")
    assert seen(ask(town.alice, "incidents?state=resolved")[1]) == [2]


def test_an_outsider_gets_404_everywhere(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    assert ask(town.charlie, "incidents")[1]["items"] == []
    for path, body, method in (
        (f"incidents/{incident.uid}", None, "GET"),
        (f"incidents/{incident.uid}/acknowledge", None, "POST"),
        (f"incidents/{incident.uid}/resolve", {"disposition": "false"}, "POST"),
    ):
        missing = ask(town.charlie, path.replace(str(incident.uid), str(uuid4())), body, method)
        assert ask(town.charlie, path, body, method) == missing
        assert missing[0] == 404
        assert missing[1]["error"]["code"] == "not_found"
    assert Incident.objects.get().state == "open"


def test_it_tells_the_whole_story_of_one(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    fact = {"name": "confidence", "value": 0.8, "relation": ">=", "bound": 0.45, "unit": ""}
    Event.objects.create(
        uid=uuid4(),
        kind="presence",
        severity="high",
        camera=town.gate,
        incident=incident,
        happened_at=NOW,
        known_at=NOW,
        content={"facts": [fact], "boxes": []},
        picture="kept",
        picture_path="secret/path.jpg",
    )
    status, answer = ask(town.alice, f"incidents/{incident.uid}")
    assert status == 200
    assert answer["events"][0]["facts"] == [fact]
    assert "path" not in str(answer)


def test_acknowledging_is_done_once_and_leaves_an_audit_row(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    path = f"incidents/{incident.uid}/acknowledge"
    for _time in range(2):
        status, answer = ask(town.alice, path, None, "POST")
        assert (status, answer["state"], answer["acknowledged_by"]) == (200, "acknowledged", "alice")
    assert [(step["after"], step["through"]) for step in answer["transitions"]] == [("acknowledged", "api")]
    row = ViewAudit.objects.get()
    assert (row.user, row.action, row.subject, row.camera) == (town.alice, "acknowledge", incident.uid, town.gate)


def test_resolving_says_what_came_of_it(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    body = {"disposition": "false", "note": "a cat"}
    status, answer = ask(town.bob, f"incidents/{incident.uid}/resolve", body, "POST")
    assert (status, answer["state"], answer["disposition"]) == (200, "resolved", "false")
    assert answer["transitions"][-1]["note"] == "a cat"


def test_a_false_alarm_may_say_what_caused_it(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    body = {"disposition": "false", "false_reason": "headlights"}
    status, answer = ask(town.bob, f"incidents/{incident.uid}/resolve", body, "POST")
    assert (status, answer["disposition"], answer["false_reason"]) == (200, "false", "headlights")


def test_what_is_over_cannot_be_acknowledged(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site, state="resolved")
    status, answer = ask(town.alice, f"incidents/{incident.uid}/acknowledge", None, "POST")
    assert (status, answer["error"]["code"]) == (409, "conflict")
    assert not ViewAudit.objects.exists()


def test_an_observer_sees_and_may_not_act(town: Town, ask: Ask) -> None:
    incident = new_incident(town.gate, town.site)
    assert ask(town.olive, f"incidents/{incident.uid}")[0] == 200
    status, answer = ask(town.olive, f"incidents/{incident.uid}/acknowledge", None, "POST")
    assert (status, answer["error"]["code"]) == (403, "not_allowed")


WRONG = [
    ("incidents?limit=0", None, "GET", 422, "malformed", "limit"),
    ("incidents?limit=9999", None, "GET", 422, "malformed", "limit"),
    ("incidents?state=asleep", None, "GET", 422, "malformed", "state"),
    ("incidents?after=x", None, "GET", 400, "malformed", "after"),
    ("incidents?after=1.x", None, "GET", 400, "malformed", "after"),
    ("incidents?after=-1", None, "GET", 400, "malformed", "after"),
    ("incidents?after=" + "9" * 40, None, "GET", 400, "malformed", "after"),
    ("incidents/17", None, "GET", 422, "malformed", "uid"),
    ("incidents/{uid}/resolve", {}, "POST", 422, "malformed", "disposition"),
    ("incidents/{uid}/resolve", {"disposition": "boring"}, "POST", 422, "malformed", "disposition"),
    ("incidents/{uid}/resolve", {"disposition": "false", "note": "x" * 501}, "POST", 422, "malformed", "note"),
    (
        "incidents/{uid}/resolve",
        {"disposition": "false", "false_reason": "x"},
        "POST",
        422,
        "malformed",
        "false_reason",
    ),
    ("incidents/{uid}/resolve", {"disposition": "test", "false_reason": "rain"}, "POST", 422, "malformed", "only"),
]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('{"disposition": "false", "disposition": "test"}', "disposition"),
        ('{"disposition": "test", "note": NaN}', "NaN"),
        ('{"disposition": "test", "note": 1e999}', "1e999"),
        ('{"disposition": ', "line 1"),
        ("[" * 20_000, "8"),
    ],
    ids=["a key twice", "NaN", "out of range", "cut off", "nested deeply"],
)
def test_a_body_that_could_be_read_in_two_ways_is_refused_with_what_is_wrong(town: Town, body: str, word: str) -> None:
    incident = new_incident(town.gate, town.site)
    client = Client(headers={"Authorization": f"Bearer {tokens.create(town.alice, 'test')[1]}"})
    response = client.post(f"/api/v1/incidents/{incident.uid}/resolve", body, content_type="application/json")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed")
    assert word in response.json()["error"]["message"]
    incident.refresh_from_db()
    assert incident.state == "open"


@pytest.mark.parametrize(("path", "body", "method", "status", "code", "word"), WRONG)
def test_every_error_has_one_shape(
    town: Town, ask: Ask, path: str, body: Any, method: str, status: int, code: str, word: str
) -> None:
    incident = new_incident(town.gate, town.site)
    got, answer = ask(town.alice, path.format(uid=incident.uid), body, method)
    assert (got, answer["error"]["code"]) == (status, code)
    assert word in answer["error"]["message"]
    assert set(answer) == {"error"}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({}, "no_token"),
        ({"Authorization": "Bearer nonsense"}, "bad_token"),
        ({"Authorization": "Basic eA=="}, "bad_token"),
    ],
)
def test_without_a_good_token_it_says_how_to_get_one(header: dict[str, str], code: str) -> None:
    response = Client(headers=header).get("/api/v1/incidents")
    assert (response.status_code, response.json()["error"]["code"]) == (401, code)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_session_is_no_token(town: Town) -> None:
    client = Client()
    client.force_login(town.ada)
    assert client.get("/api/v1/incidents").status_code == 401


def test_there_is_no_interactive_page(town: Town) -> None:
    assert Client().get("/api/v1/docs").status_code == 404
    assert Client().get("/api/v1/openapi.json").status_code == 404


def test_health_is_short_without_a_token(town: Town, ask: Ask, parts: Health) -> None:
    assert ask(None, "health") == (200, {"ok": True})


def test_health_refuses_a_wrong_token(parts: Health) -> None:
    assert Client(headers={"Authorization": "Bearer nonsense"}).get("/api/v1/health").status_code == 401


def test_health_names_parts_and_visible_cameras(town: Town, ask: Ask, parts: Health) -> None:
    town.gate.sources.create(address="rtsp://10.0.0.5/live")
    _status, answer = ask(town.alice, "health")
    assert answer["parts"][0] == {
        "part": "capture",
        "instance": "one",
        "state": "ok",
        "age_s": 1.0,
        "lag": 3,
        "problem": "",
        "figures": {},
    }
    assert answer["cameras"] == [
        {"uid": str(town.gate.uid), "name": "Gate", "state": "seeing", "since": None, "reason": ""}
    ]


def test_health_says_since_when_a_camera_is_blind(town: Town, ask: Ask, parts: Health) -> None:
    town.gate.sources.create(address="rtsp://10.0.0.5/live")
    BlindSpan.objects.create(camera=town.gate, from_at=NOW, reason="wrong-password")
    camera = ask(town.alice, "health")[1]["cameras"][0]
    assert (camera["state"], camera["since"], camera["reason"]) == ("blind", "2026-03-01T12:00:00Z", "wrong-password")


def test_health_claims_nothing_of_cameras_while_nobody_watches(town: Town, ask: Ask, parts: Health) -> None:
    town.gate.sources.create(address="rtsp://10.0.0.5/live")
    parts.record(Heartbeat(part="detect.general", instance="one", at=NOW - timedelta(seconds=9)))
    _status, answer = ask(town.alice, "health")
    assert (answer["ok"], answer["cameras"][0]["state"]) == (False, "unknown")


@pytest.mark.parametrize(
    ("beat", "ok"),
    [
        (Heartbeat(part="capture", instance="two", at=NOW - timedelta(seconds=9)), True),
        (Heartbeat(part="sweep", instance="one", at=NOW - timedelta(seconds=9)), False),
        (Heartbeat(part="capture", instance="one", at=NOW, problem="stuck"), False),
    ],
    ids=["one of two is gone", "the only one is gone", "it says so itself"],
)
def test_health_is_ok_while_each_part_has_one_that_beats(ask: Ask, parts: Health, beat: Heartbeat, ok: bool) -> None:
    parts.record(beat)
    assert ask(None, "health")[1]["ok"] == ok

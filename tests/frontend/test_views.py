"""The room over HTTP: who sees what, who may act, and what is written down about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from alerts.models import Contact, Delivery, Event, Incident, Rule
from frontend import health_tail, queries
from frontend.middleware import room_zone
from frontend.models import User, ViewAudit
from frontend.templatetags import words
from frontend.views import pane, room
from streams.health import PartHealth
from streams.models import BlindSpan, SequenceCounter
from tests.frontend import seeding
from tests.frontend.seeding import Harbour

pytestmark = pytest.mark.django_db
JSON = {"headers": {"accept": "application/json"}}


def well(part: str) -> PartHealth:
    return PartHealth(part, "host-1", datetime.now(UTC), 0.5, 0, "", "ok", {})


PARTS = ("capture", "detect.general", "evaluate", "sweep", "worker")


@pytest.fixture(autouse=True)
def healthy(monkeypatch: pytest.MonkeyPatch, settings: LazySettings, tmp_path: Path) -> list[PartHealth]:
    """No log runs here: the parts are what a test says they are."""
    parts = [well(part) for part in PARTS]
    monkeypatch.setattr(health_tail, "parts", lambda now: parts)
    monkeypatch.setattr(health_tail, "starting", lambda now: False)
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()
    room_zone.forget()
    queries.forget()
    return parts


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def harbour(now: datetime) -> Harbour:
    return seeding.make_harbour(now)


@pytest.fixture
def incident(harbour: Harbour, now: datetime) -> Incident:
    return seeding.make_incident(harbour, 0, now - timedelta(seconds=6), picture=seeding.drawn_picture())


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def text_of(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


# who sees what


def addresses(incident: Incident) -> list[str]:
    delivery = Delivery.objects.filter(alert__incident=incident).exclude(html="").get()
    base = f"/incidents/{incident.uid}"
    return [
        f"{base}/",
        f"{base}/pane/",
        f"{base}/picture.jpg",
        f"{base}/thumbnail.jpg",
        f"/outbox/{delivery.uid}/message.html",
    ]


def test_an_operator_of_the_group_sees_every_address_of_the_incident(harbour: Harbour, incident: Incident) -> None:
    for path in addresses(incident):
        assert client_of(harbour.alice).get(path).status_code == 200, path


def test_an_outsider_gets_404_for_every_address_of_the_incident(harbour: Harbour, incident: Incident) -> None:
    for path in addresses(incident):
        assert client_of(harbour.charlie).get(path).status_code == 404, path


def test_an_outsider_gets_404_for_acting(harbour: Harbour, incident: Incident) -> None:
    charlie = client_of(harbour.charlie)
    for action in ("acknowledge", "resolve"):
        response = charlie.post(f"/incidents/{incident.uid}/{action}/", {"disposition": "confirmed"}, **JSON)
        assert response.status_code == 404
    incident.refresh_from_db()
    assert incident.state == "open"


def test_an_outsider_sees_no_row_no_camera_and_no_message(harbour: Harbour, incident: Incident) -> None:
    charlie = client_of(harbour.charlie)
    for path in ("/", "/room/queue/", "/room/strip/", "/wall/", "/wall/states/", "/outbox/"):
        page = text_of(charlie, path)
        for secret in ("Dock lane", "North gate", "Guard post", str(incident.uid)):
            assert secret not in page, path


def test_an_address_that_was_made_up_reads_like_one_that_is_not_yours(harbour: Harbour, incident: Incident) -> None:
    charlie = client_of(harbour.charlie)
    made_up, hidden = (charlie.get(f"/incidents/{uid}/").content for uid in (uuid4(), incident.uid))
    assert made_up == hidden


@pytest.mark.parametrize("path", ["/", "/wall/", "/outbox/", "/room/queue/", "/room/strip/", "/wall/states/"])
def test_a_stranger_is_sent_to_the_door(path: str) -> None:
    response = Client().get(path)
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/login/?next=")


# the queue


def test_the_queue_says_what_where_and_who_has_it(harbour: Harbour, incident: Incident) -> None:
    page = text_of(client_of(harbour.alice), "/")
    for said in ("Person in “Dock lane”", "North gate, Harbour City", "nobody yet", "4 of 4 cameras seeing."):
        assert said in page


def test_the_worst_comes_first_and_then_the_newest(harbour: Harbour, now: datetime) -> None:
    for which, age_s in ((1, 5), (3, 60), (0, 300), (2, 30)):
        seeding.make_incident(harbour, which, now - timedelta(seconds=age_s))
    page = text_of(client_of(harbour.alice), "/room/queue/")
    places = [page.index(name) for name in ("“Dock lane”", "“Roof edge”", "“Turnstiles”", "“Bay 6”")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("show", "state", "seen"),
    [
        ("waiting", "open", True),
        ("waiting", "acknowledged", False),
        ("mine", "acknowledged", True),
        ("mine", "open", False),
        ("open", "acknowledged", True),
        ("open", "resolved", False),
        ("resolved", "resolved", True),
        ("resolved", "open", False),
        ("no-such-filter", "open", True),
    ],
)
def test_each_filter_shows_its_own(harbour: Harbour, incident: Incident, show: str, state: str, seen: bool) -> None:
    Incident.objects.filter(pk=incident.pk).update(
        state=state, acknowledged_by=harbour.alice, resolved_at=datetime.now(UTC)
    )
    page = text_of(client_of(harbour.alice), f"/room/queue/?show={show}")
    assert (str(incident.uid) in page) is seen


def test_mine_are_not_those_of_a_colleague(harbour: Harbour, incident: Incident) -> None:
    Incident.objects.filter(pk=incident.pk).update(state="acknowledged", acknowledged_by=harbour.bob)
    assert str(incident.uid) not in text_of(client_of(harbour.alice), "/room/queue/?show=mine")


def test_an_unchanged_queue_costs_nothing(harbour: Harbour, incident: Incident) -> None:
    alice = client_of(harbour.alice)
    change = SequenceCounter.current(SequenceCounter.CHANGES)
    assert alice.get(f"/room/queue/?after={change}").status_code == 204
    assert alice.get(f"/room/queue/?after={change - 1}").status_code == 200


# the incident


def test_the_numbers_stand_beside_their_bounds(harbour: Harbour, incident: Incident) -> None:
    page = text_of(client_of(harbour.alice), f"/incidents/{incident.uid}/")
    for said in ("3.2 s", "of 2 s", "5 of 6", "0.81", "≥ 0.50", "0.31", "version 7"):
        assert said in page


def test_box_zone_and_path_are_drawn_in_fractions(harbour: Harbour, incident: Incident) -> None:
    page = text_of(client_of(harbour.alice), f"/incidents/{incident.uid}/pane/")
    assert 'class="box fired" x="0.8870" y="0.5160"' in page
    assert 'points="0.7300,0.5200 0.9950,0.5750' in page
    assert 'class="path" points="0.9990,0.6400' in page


def test_it_says_who_was_told_with_an_address_a_passer_by_cannot_use(harbour: Harbour, incident: Incident) -> None:
    page = text_of(client_of(harbour.alice), f"/incidents/{incident.uid}/")
    assert "Guard post" in page
    assert "+886 ••• 417" in page
    assert "+886912345417" not in page


def test_a_message_of_unknown_outcome_may_arrive_twice(harbour: Harbour, incident: Incident) -> None:
    Delivery.objects.filter(contact__channel="sms").update(state="unknown")
    page = text_of(client_of(harbour.alice), f"/incidents/{incident.uid}/")
    assert "outcome unknown" in page
    assert "may arrive twice" in page


def test_a_picture_that_was_not_kept_says_so(harbour: Harbour, now: datetime) -> None:
    bare = seeding.make_incident(harbour, 0, now)
    page = text_of(client_of(harbour.alice), f"/incidents/{bare.uid}/")
    assert "Picture no longer kept." in page
    assert "picture.jpg" not in page


def test_a_late_incident_gives_both_times(harbour: Harbour, now: datetime) -> None:
    late = seeding.make_incident(harbour, 0, now - timedelta(minutes=10), known_at=now)
    page = text_of(client_of(harbour.alice), f"/incidents/{late.uid}/")
    assert "Known late: it happened at" in page


def test_a_late_incident_of_another_day_gives_the_day(harbour: Harbour, now: datetime) -> None:
    happened = now - timedelta(days=3)
    late = seeding.make_incident(harbour, 0, happened, known_at=now)
    page = text_of(client_of(harbour.alice), f"/incidents/{late.uid}/")
    notice = page[page.index('data-part="late"') :]
    day = happened.astimezone(ZoneInfo("Asia/Taipei"))
    assert f"{day.day} {day:%b %H:%M:%S}" in notice[: notice.index("</p>")]


def test_an_open_incident_counts_down_to_the_next_message(harbour: Harbour, incident: Incident) -> None:
    alice = client_of(harbour.alice)
    assert "next step in" in text_of(alice, f"/incidents/{incident.uid}/")
    alice.post(f"/incidents/{incident.uid}/acknowledge/", **JSON)
    assert "next step in" not in text_of(alice, f"/incidents/{incident.uid}/")


def test_what_a_camera_is_called_is_text_and_never_markup(harbour: Harbour, incident: Incident) -> None:
    incident.zone_name = "<img src=x onerror=alert(1)>"
    incident.save()
    for path in ("/", f"/incidents/{incident.uid}/", "/outbox/"):
        assert "<img src=x" not in text_of(client_of(harbour.alice), path)


def test_looking_handles_nothing(harbour: Harbour, incident: Incident) -> None:
    text_of(client_of(harbour.alice), f"/incidents/{incident.uid}/")
    incident.refresh_from_db()
    assert (incident.state, incident.acknowledged_by) == ("open", None)


# acting


def test_an_operator_acknowledges_and_then_resolves(harbour: Harbour, incident: Incident) -> None:
    alice = client_of(harbour.alice)
    assert alice.post(f"/incidents/{incident.uid}/acknowledge/", **JSON).status_code == 204
    resolution = {"disposition": "inspected", "note": "A fisherman."}
    assert alice.post(f"/incidents/{incident.uid}/resolve/", resolution, **JSON).status_code == 204
    incident.refresh_from_db()
    assert (incident.state, incident.disposition, incident.resolved_by) == ("resolved", "inspected", harbour.alice)
    assert "A fisherman." in text_of(alice, f"/incidents/{incident.uid}/")


def test_every_action_leaves_an_audit_row(harbour: Harbour, incident: Incident) -> None:
    client_of(harbour.alice).post(f"/incidents/{incident.uid}/acknowledge/", **JSON)
    row = ViewAudit.objects.get()
    assert (row.user, row.action, row.subject, row.camera) == (
        harbour.alice,
        "acknowledge",
        incident.uid,
        incident.camera,
    )


def test_the_slower_one_is_told_who_has_it(harbour: Harbour, incident: Incident) -> None:
    client_of(harbour.bob).post(f"/incidents/{incident.uid}/acknowledge/", **JSON)
    response = client_of(harbour.alice).post(f"/incidents/{incident.uid}/acknowledge/", **JSON)
    assert response.status_code == 409
    assert response.json() == {"sentence": "Bob Lin has it already."}


def test_an_observer_looks_and_does_not_act(harbour: Harbour, incident: Incident) -> None:
    olga = client_of(harbour.olga)
    response = olga.post(f"/incidents/{incident.uid}/acknowledge/", **JSON)
    assert response.status_code == 403
    assert "Ask a supervisor" in response.json()["sentence"]
    page = text_of(olga, f"/incidents/{incident.uid}/")
    assert "data-act" not in page
    assert "You are looking only" in page


def test_resolving_without_saying_what_it_was_is_refused(harbour: Harbour, incident: Incident) -> None:
    response = client_of(harbour.alice).post(f"/incidents/{incident.uid}/resolve/", {"disposition": "x"}, **JSON)
    assert response.status_code == 422
    assert response.json()["sentence"] == "Say what it was, then resolve it."


def test_a_false_alarm_says_what_caused_it_in_its_history(harbour: Harbour, incident: Incident) -> None:
    alice = client_of(harbour.alice)
    resolution = {"disposition": "false", "false_reason": "headlights"}
    assert alice.post(f"/incidents/{incident.uid}/resolve/", resolution, **JSON).status_code == 204
    incident.refresh_from_db()
    assert incident.false_reason == "headlights"
    assert "<small>False alarm: headlights</small>" in text_of(alice, f"/incidents/{incident.uid}/pane/")


@pytest.mark.parametrize(("disposition", "reason"), [("confirmed", "rain"), ("false", "boredom"), ("false", "")])
def test_a_cause_that_fits_nothing_is_left_out(
    harbour: Harbour, incident: Incident, disposition: str, reason: str
) -> None:
    resolution = {"disposition": disposition, "false_reason": reason}
    client_of(harbour.alice).post(f"/incidents/{incident.uid}/resolve/", resolution, **JSON)
    incident.refresh_from_db()
    assert (incident.state, incident.disposition, incident.false_reason) == ("resolved", disposition, "")


def test_without_scripts_it_goes_back_to_the_incident(harbour: Harbour, incident: Incident) -> None:
    response = client_of(harbour.alice).post(f"/incidents/{incident.uid}/acknowledge/")
    assert response.status_code == 302
    assert response.headers["Location"] == f"/incidents/{incident.uid}/"


def test_acting_needs_the_form_s_token(harbour: Harbour, incident: Incident) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(harbour.alice)
    assert client.post(f"/incidents/{incident.uid}/acknowledge/").status_code == 403
    assert client.get(f"/incidents/{incident.uid}/acknowledge/").status_code == 405


# pictures


def test_each_picture_looked_at_is_one_audit_row(harbour: Harbour, incident: Incident) -> None:
    alice = client_of(harbour.alice)
    for _ in range(3):
        response = alice.get(f"/incidents/{incident.uid}/picture.jpg")
        assert response.headers["Content-Type"] == "image/jpeg"
        assert response.content.startswith(b"\xff\xd8")
    event = Event.objects.get(incident=incident)
    rows = ViewAudit.objects.values_list("user", "action", "subject")
    assert list(rows) == [(harbour.alice.pk, "picture", event.uid)] * 3


def test_a_picture_that_was_refused_leaves_no_row(harbour: Harbour, incident: Incident) -> None:
    client_of(harbour.charlie).get(f"/incidents/{incident.uid}/picture.jpg")
    assert not ViewAudit.objects.exists()


def test_a_thumbnail_is_small(harbour: Harbour, incident: Incident) -> None:
    alice = client_of(harbour.alice)
    whole, small = (alice.get(f"/incidents/{incident.uid}/{name}.jpg").content for name in ("picture", "thumbnail"))
    assert small.startswith(b"\xff\xd8")
    assert len(small) < len(whole) / 2


@pytest.mark.parametrize("asked", ["nonsense", str(uuid4())])
def test_a_picture_of_another_event_is_not_given(harbour: Harbour, incident: Incident, asked: str) -> None:
    assert client_of(harbour.alice).get(f"/incidents/{incident.uid}/picture.jpg?event={asked}").status_code == 404


def test_a_picture_that_is_gone_from_the_store_is_404(harbour: Harbour, incident: Incident) -> None:
    Event.objects.update(picture_path="events/gone.jpg")
    assert client_of(harbour.alice).get(f"/incidents/{incident.uid}/picture.jpg").status_code == 404


# the strip


def test_an_offline_camera_is_named_with_its_site_s_clock(harbour: Harbour) -> None:
    today = datetime.now(UTC).replace(hour=5, minute=48, second=0)
    seeding.make_blind(harbour.cameras[0], today)
    for path in ("/room/strip/", "/wall/"):
        page = text_of(client_of(harbour.alice), path)
        assert "13:48 (Asia/Taipei)" in page
        assert "Offline since" in page
    assert "3 of 4 cameras seeing." in text_of(client_of(harbour.alice), "/room/strip/")


def test_a_camera_that_came_back_sees_again(harbour: Harbour, now: datetime) -> None:
    seeding.make_blind(harbour.cameras[0], now - timedelta(minutes=3))
    BlindSpan.objects.update(to_at=now)
    assert "4 of 4 cameras seeing." in text_of(client_of(harbour.alice), "/room/strip/")


def test_a_silent_part_is_said_in_words_and_nobody_claims_to_watch(harbour: Harbour, healthy: list[PartHealth]) -> None:
    healthy[:] = [well(part) for part in PARTS if part != "capture"]
    healthy.append(PartHealth("capture", "host-1", datetime.now(UTC), 8.0, 0, "", "silent", {}))
    page = text_of(client_of(harbour.alice), "/room/strip/")
    assert "Nobody is watching now." in page
    assert "Cameras are not being read" in page
    assert "cameras seeing" not in page


def test_a_silent_sender_does_not_stop_the_watch(harbour: Harbour, healthy: list[PartHealth]) -> None:
    healthy[:] = [part for part in healthy if part.part != "worker"]
    healthy.append(PartHealth("worker", "", None, None, 0, "", "missing", {}))
    page = text_of(client_of(harbour.alice), "/room/strip/")
    assert "4 of 4 cameras seeing." in page
    assert "Messages are sent more slowly" in page


def test_nobody_on_duty_is_in_red_with_the_remedy(harbour: Harbour) -> None:
    for rule in Rule.objects.all():
        rule.recipients.clear()
    page = text_of(client_of(harbour.alice), "/room/strip/")
    assert "Nobody would be told by: " in page


def test_the_digest_changes_with_what_is_said_and_not_with_time(harbour: Harbour) -> None:
    alice = client_of(harbour.alice)
    digests = [words_after(text_of(alice, "/room/strip/"), 'data-digest="') for _ in range(2)]
    seeding.make_blind(harbour.cameras[0], datetime.now(UTC))
    after = words_after(text_of(alice, "/room/strip/"), 'data-digest="')
    assert digests[0] == digests[1] != after


def words_after(page: str, start: str) -> str:
    return page.partition(start)[2].partition('"')[0]


# empty rooms


def test_an_empty_queue_remembers_the_last_incident(harbour: Harbour, incident: Incident) -> None:
    Incident.objects.update(state="resolved", disposition="test", resolved_by=harbour.bob)
    page = text_of(client_of(harbour.alice), "/")
    assert "Nothing waits for you" in page
    assert "Person in “Dock lane”" in page


def test_a_room_without_cameras_says_what_to_do(harbour: Harbour) -> None:
    assert "Ask an administrator for a group" in text_of(client_of(harbour.charlie), "/")


# the outbox


def test_the_outbox_shows_messages_exactly(harbour: Harbour, incident: Incident) -> None:
    page = text_of(client_of(harbour.alice), "/outbox/")
    assert seeding.SMS in page
    assert "1 SMS segment" in page or "2 SMS segments" in page
    assert "Critical: person in “Dock lane”" in page


def test_an_e_mail_s_html_runs_nothing(harbour: Harbour, incident: Incident) -> None:
    delivery = Delivery.objects.exclude(html="").get()
    response = client_of(harbour.alice).get(f"/outbox/{delivery.uid}/message.html")
    assert response.content.decode() == delivery.html
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy


def test_the_picture_within_an_e_mail_is_shown_in_its_place(harbour: Harbour, incident: Incident) -> None:
    delivery = Delivery.objects.exclude(html="").get()
    Delivery.objects.filter(pk=delivery.pk).update(html='<img src="cid:picture">')
    body = client_of(harbour.alice).get(f"/outbox/{delivery.uid}/message.html").content.decode()
    assert body.startswith('<img src="data:image/jpeg;base64,')
    assert ViewAudit.objects.filter(action="message").count() == 1


def test_the_outbox_says_where_a_message_went_not_where_it_would_go(harbour: Harbour, incident: Incident) -> None:
    told = Delivery.objects.get(contact__channel="sms")
    Delivery.objects.filter(pk=told.pk).update(address="+886911111111")
    page = text_of(client_of(harbour.alice), "/outbox/")
    assert "+886911111111" in page
    assert told.contact.address not in page
    told.refresh_from_db()
    assert words.masked(told) == "+886 ••• 111"


PROBLEMS = [
    ("Twilio: 400/21610: Attempt to send to unsubscribed recipient +886912345417", "this number has unsubscribed"),
    ("Twilio: 400/21211: Invalid 'To' number +886912345417", "this number cannot receive it"),
    ("Twilio: 401/20003: Authenticate", "the SMS provider refuses it"),
    ("Twilio: no connection (ConnectTimeout)", "the SMS provider could not be reached"),
    ("SMTP: 550: 5.1.1 <bob@example.org> unknown", "the mail server refuses this address"),
    ("SMTP: no session with the server (gaierror)", "the mail server did not take it"),
    ("not put into words (KeyError)", "not sent"),
]


@pytest.mark.parametrize(("problem", "said"), PROBLEMS)
def test_a_message_that_was_not_sent_says_why_in_the_reader_s_words(
    harbour: Harbour, incident: Incident, problem: str, said: str
) -> None:
    Delivery.objects.filter(contact__channel="sms").update(state="failed", problem=problem)
    for path in ("/outbox/", f"/incidents/{incident.uid}/"):
        page = text_of(client_of(harbour.alice), path)
        assert said in page
        assert problem.partition(": ")[2] not in page or ": " not in problem


# what a reading costs


def test_a_queue_and_a_pane_load_one_event_however_many_there_are(
    harbour: Harbour, incident: Incident, now: datetime
) -> None:
    for number in range(1, 6):
        seeding.make_event(incident, now + timedelta(seconds=number), now, None)
    Incident.objects.update(event_count=6)
    with CaptureQueriesContext(connection) as asked:
        rows = room.queue_context(harbour.alice, "waiting")["rows"]
    assert [picture for _incident, picture in rows] == [{"picture": "kept"}]
    assert not [query for query in asked if '"content"' in query["sql"]]
    with CaptureQueriesContext(connection) as asked:
        found = queries.incident(harbour.alice, incident.uid)
        assert found is not None
        shown = pane.pane_context(harbour.alice, found)
    assert shown["event"].happened_at == incident.happened_at
    assert len(shown["again"]) == 5
    assert [query["sql"].count("LIMIT 1") for query in asked if '"content"' in query["sql"]] == [1]
    assert "5 times" in text_of(client_of(harbour.alice), f"/incidents/{incident.uid}/")


def _asked_of_deliveries(user: User) -> int:
    with CaptureQueriesContext(connection) as asked:
        queries.strip(user, [])
    return len([query for query in asked if "alerts_delivery" in query["sql"] or "alerts_rule" in query["sql"]])


def test_sockets_that_ask_the_same_cost_the_database_one_answer(harbour: Harbour, incident: Incident) -> None:
    assert _asked_of_deliveries(harbour.alice) > 0
    assert _asked_of_deliveries(harbour.alice) == 0


def test_what_changed_is_asked_for_at_once(harbour: Harbour, incident: Incident, now: datetime) -> None:
    first = queries.strip(harbour.alice, []).last
    later = seeding.tell(incident, harbour.recipients[0], now + timedelta(seconds=5), reason="reminder")
    SequenceCounter.advance(SequenceCounter.CHANGES)
    assert queries.strip(harbour.alice, []).last == later != first
    assert not queries.strip(harbour.alice, []).nobody_told
    Contact.objects.update(disabled_at=now)
    SequenceCounter.advance(SequenceCounter.CHANGES)
    assert queries.strip(harbour.alice, []).nobody_told


# language, theme, door


def test_a_person_reads_their_own_language(harbour: Harbour, incident: Incident) -> None:
    alice = client_of(harbour.alice)
    alice.post("/language/", {"language": "zh-hant", "next": "/"})
    harbour.alice.refresh_from_db()
    assert harbour.alice.language == "zh-hant"
    page = text_of(alice, "/")
    assert 'lang="zh-Hant-TW"' in page
    assert "「Dock lane」有人" in page


def test_an_unknown_language_or_theme_changes_nothing(harbour: Harbour) -> None:
    alice = client_of(harbour.alice)
    alice.post("/language/", {"language": "xx"})
    alice.post("/theme/", {"theme": "purple"})
    harbour.alice.refresh_from_db()
    assert harbour.alice.language == "en"
    assert 'data-theme="dark"' in text_of(alice, "/")


def test_the_light_theme_stays_in_the_browser(harbour: Harbour) -> None:
    alice = client_of(harbour.alice)
    alice.post("/theme/", {"theme": "light", "next": "/wall/"})
    assert 'data-theme="light"' in text_of(alice, "/")


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_it_never_leads_elsewhere(harbour: Harbour, elsewhere: str) -> None:
    response = client_of(harbour.alice).post("/theme/", {"theme": "light", "next": elsewhere})
    assert response.headers["Location"] == "/"


def test_a_wrong_password_is_told_plainly(harbour: Harbour) -> None:
    page = Client().post("/login/", {"username": "alice", "password": "wrong"}).content.decode()
    assert "do not belong together" in page
    assert Client().login(username="alice", password=seeding.PASSWORD)


def test_the_room_s_clock_is_that_of_its_sites_until_a_person_chooses(harbour: Harbour) -> None:
    alice = client_of(harbour.alice)
    assert 'data-zone="Asia/Taipei"' in text_of(alice, "/")
    User.objects.filter(pk=harbour.alice.pk).update(time_zone="Europe/Berlin")
    assert 'data-zone="Europe/Berlin"' in text_of(alice, "/")


def test_a_site_s_own_time_stands_beside_where_it_differs(harbour: Harbour, incident: Incident) -> None:
    User.objects.filter(pk=harbour.alice.pk).update(time_zone="Europe/Berlin")
    page = text_of(client_of(harbour.alice), f"/incidents/{incident.uid}/")
    assert "Asia/Taipei)" in page


# words


@pytest.mark.parametrize(
    ("fact", "value", "bound"),
    [
        ({"name": "in_zone", "value": 3.21, "relation": ">=", "bound": 2, "unit": "s"}, "3.2 s", "of 2 s"),
        ({"name": "confirmed", "value": 5, "relation": "of", "bound": 6}, "5 of 6", "pictures"),
        ({"name": "confidence", "value": 0.814, "relation": ">=", "bound": 0.5, "unit": ""}, "0.81", "≥ 0.50"),
        (
            {"name": "travel", "value": 0.31, "relation": ">=", "bound": 0.03, "unit": "heights"},
            "0.31",
            "≥ 0.03 heights",
        ),
        ({"name": "opacity", "value": 41.5, "relation": "<=", "bound": 20, "unit": "%"}, "41.50", "≤ 20.00 %"),
        ({"name": "speed", "value": 31.4, "relation": ">=", "bound": 30.0, "unit": "km/h"}, "31.4", "≥ 30 km/h"),
        ({"name": "speed", "value": 31.4, "relation": "=", "bound": 31.4, "unit": "km/h"}, "31 km/h", ""),
        ({"name": "moved", "value": 12.5, "relation": "=", "bound": 12.5, "unit": "m"}, "12.5 m", ""),
        ({"name": "drift", "value": 0.42, "relation": "<=", "bound": 1.0, "unit": "m"}, "0.4", "≤ 1 m"),
        ({"name": "density", "value": 2.31, "relation": ">=", "bound": 2.0, "unit": "/m²"}, "2.31", "≥ 2.00 per m²"),
        ({"name": "direction", "value": -1.0, "relation": "=", "bound": -1.0}, "against the arrow", ""),
    ],
)
def test_a_fact_becomes_a_figure(fact: dict[str, Any], value: str, bound: str) -> None:
    figure = words.figure(fact)
    assert (figure.value, figure.bound.replace("picture heights", "heights")) == (value, bound)


def test_uids_in_addresses_are_version_7(incident: Incident) -> None:
    assert UUID(str(incident.uid)).version == 7

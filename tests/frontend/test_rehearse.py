"""Rehearsing over HTTP: whose it is, what is refused, and what is said of each state."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from django.conf import LazySettings
from django.test import Client
from django.utils import timezone

from alerts import editing, rehearsal_run, rehearsals
from alerts.archive_files import Folder
from alerts.models import Incident, Rehearsal, Rule, RuleVersion, Zone
from alerts.track_pictures import Moment, store
from detectors.tracking import Track
from frontend import health_tail, queries
from frontend.models import ViewAudit
from frontend.rehearsal_page import duration, panel
from streams.cameras import keep_reference, main_view
from streams.observations import Detections, LogPosition
from tests.alerts.histories import nobody
from tests.alerts.kept import GAP_S, WALK_S, ago, keep, keep_untracked, moved, walks
from tests.frontend import seeding
from tests.town import Town, build_town, new_rule

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch, settings: LazySettings, tmp_path: Path) -> None:
    """No log and no broker run here, and files go to a folder of the test's own."""
    monkeypatch.setattr(health_tail, "parts", lambda now: [])
    monkeypatch.setattr(health_tail, "starting", lambda now: False)
    monkeypatch.setattr(rehearsals, "_publish_soon", lambda uid: None)
    settings.MEDIA_ROOT, settings.STATIC_ROOT = tmp_path / "media", tmp_path / "static"
    settings.ARCHIVE = {**settings.ARCHIVE, "folder": tmp_path / "archive"}
    settings.STATIC_ROOT.mkdir()
    queries.forget()


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def ada(town: Town) -> Client:
    return client_of(town.ada)


def client_of(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


def typed(town: Town, **changes: Any) -> dict[str, Any]:
    form = {
        "name": "Person in the lane", "severity": "high", "enabled": "on", "zones": [town.zone.pk],
        "deployment": town.deployment.pk, "setting_labels": ["person"], "setting_hold_s": "1", "setting_leave_s": "1",
        "setting_anchor": "bottom", "setting_confidence": "0.45", "setting_confirm_k": "3", "setting_confirm_n": "5",
        "setting_confirm_within_s": "3", "setting_min_travel": "0.03", "setting_rearm": "quiet",
        "setting_rearm_s": "20", "setting_stale_s": "120",
        "setting_group_by": "camera", "setting_news_after_s": "1800", "why_it_matters": "", "procedure": "",
    }  # fmt: skip
    return {**form, **changes}


def begin(client: Client, town: Town, **changes: Any) -> Any:
    return client.post(f"/setup/cameras/{town.gate.uid}/rules/rehearse/?kind=presence", typed(town, **changes))


def archived(town: Town, *stands_s: float, **span: float) -> None:
    """Walks, and nobody for long enough after them that the last interval that is counted has an end."""
    ends_s = sum(WALK_S + GAP_S + stand_s for stand_s in stands_s)
    log = moved(
        [*walks(*stands_s), *nobody(ends_s + 1, ends_s + 120, 1.0)],
        camera=town.gate.uid,
        deployment=town.deployment.uid,
        to=ago(**span),
    )
    keep(rehearsals.archive_root(), log)


def looked_at(client: Client, rehearsal: Rehearsal) -> str:
    body: str = client.get(f"/setup/rehearsals/{rehearsal.uid}/").content.decode()
    return body


def test_an_unsaved_draft_is_rehearsed_and_stays_unsaved(ada: Client, town: Town) -> None:
    archived(town, 0, 0, 0, hours=2)
    response = begin(ada, town, rehearse_days="1")
    assert response.status_code == 200 and "Waiting for a worker" in response.content.decode()
    rehearsal = Rehearsal.objects.get()
    assert (rehearsal.until_at - rehearsal.from_at) == timedelta(days=1)
    rehearsal_run.run(rehearsal.uid)
    page = looked_at(ada, rehearsal)
    assert "3 times" in page and "in the last day" in page and page.count('class="firing"') == 3
    assert "no version is in force to compare with" in page and "nothing archived:" in page
    assert not (Rule.objects.exists() or RuleVersion.objects.exists() or Incident.objects.exists())


def test_an_edit_is_compared_and_marked(ada: Client, town: Town) -> None:
    archived(town, 0, 20, hours=2)
    rule = new_rule(town)
    editing.save_rule(rule, zones=[town.zone], author=None, now=timezone.now())
    form = typed(town, setting_hold_s="12", rehearse_days="1")
    assert ada.post(f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/rehearse/", form).status_code == 200
    rehearsal_run.run(Rehearsal.objects.get().uid)
    page = looked_at(ada, Rehearsal.objects.get())
    assert "1 time<" in page and "1 as in version 1" in page and "1 gone" in page and "is-gone" in page
    rule.refresh_from_db()
    assert rule.config["hold_s"] == 1.0 and rule.versions.count() == 1


def test_it_is_tracked_anew_from_the_detections_where_that_is_asked(ada: Client, town: Town) -> None:
    log = moved(walks(0, 0), camera=town.gate.uid, deployment=town.deployment.uid, to=ago(hours=2))
    keep_untracked(rehearsals.archive_root(), log)
    for asked, times in (({}, "0 times"), ({"rehearse_anew": "on"}, "2 times")):
        response = begin(ada, town, rehearse_days="1", **asked)
        assert ("Tracked anew" in response.content.decode()) == bool(asked)
        rehearsal = Rehearsal.objects.get(state="waiting")
        rehearsal_run.run(rehearsal.uid)
        page = looked_at(ada, rehearsal)
        assert times in page and ("Tracked anew" in page) == bool(asked)
    rehearsal.refresh_from_db()
    assert (rehearsal.state, rehearsal.share) == ("done", 1.0)


def test_how_far_it_is_is_shown_while_it_tracks_anew(ada: Client, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    archived(town, 0, 0, hours=2)
    begin(ada, town, rehearse_days="1", rehearse_anew="on")
    rehearsal, pages = Rehearsal.objects.get(), list[str]()
    monkeypatch.setattr(rehearsal_run, "FLUSH_S", 0.0)
    flush = rehearsal_run._Notes.flush

    def flushed(notes: Any) -> bool:
        done = flush(notes)
        pages.append(looked_at(ada, rehearsal))
        return done

    monkeypatch.setattr(rehearsal_run._Notes, "flush", flushed)
    rehearsal_run.run(rehearsal.uid)
    assert pages and all("<progress" in page and "Tracked anew" in page for page in pages)
    assert "<progress" not in looked_at(ada, rehearsal)


def counting(town: Town, **settings: Any) -> tuple[Rule, Zone]:
    """A rule that counts who goes over a line at the lane's edge, and the line."""
    line = Zone.objects.create(view=town.zone.view, name="Kerb", shape="line", points=[[0.2, 0.1], [0.2, 0.95]])
    given = {"labels": ["person"], "interval_s": 60, **settings}
    return new_rule(town, name="Over the kerb", kind="counting", config=given), line


def counted_page(ada: Client, town: Town, rule: Rule, line: Zone) -> str:
    draft = editing.draft_version(rule, zones=[line], now=timezone.now())
    wanted = rehearsals.Wanted(draft, [town.gate.uid], 1, timezone.now(), "Asia/Taipei")
    rehearsal = rehearsals.start(wanted, author=town.ada)
    rehearsal_run.run(rehearsal.uid)
    return looked_at(ada, rehearsal)


def test_a_draft_that_counts_shows_what_it_would_have_counted(ada: Client, town: Town) -> None:
    archived(town, 0, 0, 0, hours=2)
    page = counted_page(ada, town, *counting(town))
    assert "It would have counted" in page and "6 times" in page and "counted in the last day" in page
    rows = re.findall(r'<th scope="row">([^<]*?)(?: <small>([^<]*)</small>)?</th><td class="num">(\d+)</td>', page)
    assert rows == [
        ("Kerb", "with the arrow · person", "3"),
        ("Kerb", "against the arrow · person", "3"),
        ("Over all lines", "", "6"),
    ]
    assert 'class="firing"' not in page and "at night" not in page and "Version" not in page
    assert "no version is in force to compare with" in page and "nothing archived:" in page


def test_a_draft_that_counts_stands_beside_the_version_in_force(ada: Client, town: Town) -> None:
    archived(town, 0, 0, 0, hours=2)
    rule, line = counting(town)
    editing.save_rule(rule, zones=[line], author=None, now=timezone.now())
    rule.config = {**rule.config, "least_way": 0.3}
    page = counted_page(ada, town, rule, line)
    assert "0 times" in page and "as in version 1" in page and "fewer" in page
    assert '<td class="num">0</td><td class="num">6</td><td class="num">−6</td>' in page


def test_a_draft_that_counts_claims_no_zero_where_nothing_is_known(ada: Client, town: Town) -> None:
    page = counted_page(ada, town, *counting(town))
    assert "Nothing is archived yet of this camera" in page and "times" not in page


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"setting_labels": ["boat"]}, "boat"),
        ({"zones": []}, "This field is required"),
        ({"setting_confirm_k": "9"}, "It cannot be seen in 9"),
        ({"setting_hold_s": "nan"}, "Enter a number"),
        ({"name": " "}, "This field is required"),
        ({"days_1": ["1"], "from_1": "99:00"}, "Write a time as 22:00"),
        ({"holidays": "2027-02-30"}, "Write each day as 2027-01-01"),
    ],
)
def test_what_cannot_be_saved_cannot_be_rehearsed(ada: Client, town: Town, changes: Any, said: str) -> None:
    response = begin(ada, town, **changes)
    assert response.status_code == 422
    assert said in " ".join(json.loads(response.content)["lines"])
    assert not Rehearsal.objects.exists()


def test_a_camera_without_a_zone_of_the_draft_is_refused(ada: Client, town: Town) -> None:
    response = begin(ada, town, rehearse_cameras=[str(town.yard.uid)])
    assert response.status_code == 422 and "no zone on “Yard”" in json.loads(response.content)["sentence"]
    assert begin(ada, town, rehearse_cameras=[str(uuid4())]).status_code == 404
    assert begin(ada, town, rehearse_cameras=["every"]).status_code == 404


def test_two_cameras_of_one_rule(ada: Client, town: Town) -> None:
    zone = Zone.objects.create(view=main_view(town.yard), name="Gap", points=town.zone.points)
    rule = new_rule(town)
    editing.save_rule(rule, zones=[town.zone, zone], author=None, now=timezone.now())
    page = ada.get(f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/").content.decode()
    assert page.count('name="rehearse_cameras"') == 2
    both = [str(town.gate.uid), str(town.yard.uid)]
    form = typed(town, zones=[town.zone.pk, zone.pk], rehearse_cameras=both)
    assert ada.post(f"/setup/cameras/{town.gate.uid}/rules/{rule.uid}/rehearse/", form).status_code == 200
    assert sorted(Rehearsal.objects.get().cameras) == sorted(both)


def test_only_its_author_finds_it(ada: Client, town: Town) -> None:
    begin(ada, town)
    uid = Rehearsal.objects.get().uid
    other = client_of(seeding.make_person("eve", "administrator", ("Eve", "Wu"), []))
    paths = [f"/setup/rehearsals/{uid}/", f"/setup/rehearsals/{uid}/cameras/{town.gate.uid}.jpg"]
    for client in (other, client_of(town.alice), client_of(town.bob), client_of(town.olive)):
        assert [client.get(path).status_code for path in paths] == [404, 404]
        assert client.post(f"/setup/rehearsals/{uid}/cancel/").status_code == 404
    assert begin(client_of(town.bob), town).status_code == 404
    assert client_of(town.alice).get(f"/setup/cameras/{town.gate.uid}/walked/").status_code == 404
    assert Client().get(paths[0]).url.startswith("/login/")


def test_it_is_cancelled(ada: Client, town: Town) -> None:
    begin(ada, town)
    rehearsal = Rehearsal.objects.get()
    page = ada.post(f"/setup/rehearsals/{rehearsal.uid}/cancel/").content.decode()
    assert 'data-state="cancelled"' in page and "Cancelled at 0 %" in page
    rehearsal_run.run(rehearsal.uid)
    assert 'data-state="cancelled"' in looked_at(ada, rehearsal)


def test_a_worker_that_ended_is_noticed_by_looking(ada: Client, town: Town) -> None:
    begin(ada, town)
    Rehearsal.objects.update(state="running", beat_at=timezone.now() - timedelta(minutes=5))
    assert "The worker ended in the middle" in looked_at(ada, Rehearsal.objects.get())


def test_one_that_was_stored_before_a_column_came_is_still_shown(ada: Client, town: Town) -> None:
    archived(town, 0, hours=2)
    begin(ada, town, rehearse_days="1")
    rehearsal = Rehearsal.objects.get()
    rehearsal_run.run(rehearsal.uid)
    rehearsal.refresh_from_db()
    del rehearsal.summary["tally"]
    Rehearsal.objects.update(summary={**rehearsal.summary, "tracked_anew": True})
    assert "1 time<" in looked_at(ada, rehearsal)
    Rehearsal.objects.update(summary={"tracked_anew": True}, state="waiting")
    assert "Waiting for a worker" in looked_at(ada, rehearsal)


def test_an_empty_archive_is_said_and_no_zero_is_claimed(ada: Client, town: Town) -> None:
    begin(ada, town)
    rehearsal_run.run(Rehearsal.objects.get().uid)
    page = looked_at(ada, Rehearsal.objects.get())
    assert "Nothing is archived yet of this camera" in page and "0 times" not in page


def test_while_it_runs_no_unread_time_is_called_known(ada: Client, town: Town) -> None:
    archived(town, 0, hours=2)
    begin(ada, town)
    rehearsal_run.run(Rehearsal.objects.get().uid)
    Rehearsal.objects.update(state="running", beat_at=timezone.now(), share=0.4)
    page = looked_at(ada, Rehearsal.objects.get())
    assert "so far" in page and "in the last" not in page.split("data-part")[1] and 'value="40"' in page


def test_the_ground_is_shown_to_its_author_and_written_down(ada: Client, town: Town) -> None:
    keep_reference(main_view(town.gate), seeding.drawn_picture())
    begin(ada, town)
    uid = Rehearsal.objects.get().uid
    response = ada.get(f"/setup/rehearsals/{uid}/cameras/{town.gate.uid}.jpg")
    assert response.status_code == 200 and response["Content-Type"] == "image/jpeg"
    assert ViewAudit.objects.filter(action="rehearsal-picture", camera=town.gate, subject=uid).count() == 1
    assert ada.get(f"/setup/rehearsals/{uid}/cameras/{town.yard.uid}.jpg").status_code == 404


def test_the_archives_own_picture_is_shown_where_it_has_one(ada: Client, town: Town) -> None:
    archived(town, 0, 0, hours=2)
    begin(ada, town)
    rehearsal = Rehearsal.objects.get()
    rehearsal_run.run(rehearsal.uid)
    first = rehearsal.rows.filter(kind="firing")[0].content
    track = msgspec.convert(first["track"], Track)
    moment = Moment(town.gate.uid, town.deployment.uid, track, 1, 1, track.first_at, LogPosition("frames", 0, 1), 1.0)
    store(Folder(rehearsals.archive_root()), moment, b"a small JPEG")
    begin(ada, town)
    again = Rehearsal.objects.get(state="waiting")
    rehearsal_run.run(again.uid)
    uids = [row.content["uid"] for row in again.rows.filter(kind="firing")]
    assert looked_at(ada, again).count("/firings/") == 1 and first["pictured"] is False
    response = ada.get(f"/setup/rehearsals/{again.uid}/firings/{uids[0]}.jpg")
    assert response.content == b"a small JPEG"
    assert ViewAudit.objects.filter(action="rehearsal-picture", subject=uids[0]).count() == 1
    assert ada.get(f"/setup/rehearsals/{again.uid}/firings/{uids[1]}.jpg").status_code == 404
    assert client_of(town.alice).get(f"/setup/rehearsals/{again.uid}/firings/{uids[0]}.jpg").status_code == 404


def test_without_an_archive_switched_on_it_is_refused(ada: Client, town: Town, settings: LazySettings) -> None:
    settings.ARCHIVE = {**settings.ARCHIVE, "days": 0}
    response = begin(ada, town)
    assert response.status_code == 422 and "POLISCOPE_ARCHIVE_DAYS is 0" in json.loads(response.content)["sentence"]


def test_the_tracks_of_the_last_hour(ada: Client, town: Town) -> None:
    archived(town, 0, 0, minutes=30)
    answer = ada.get(f"/setup/cameras/{town.gate.uid}/walked/").json()
    assert len(answer["people"]) == 2 and answer["others"] == []
    assert all(0 <= x <= 1 and y == 0.8 for line in answer["people"] for x, y in line)
    assert ViewAudit.objects.filter(action="walked", camera=town.gate).count() == 1
    assert ada.get(f"/setup/cameras/{town.yard.uid}/walked/").json() == {"people": [], "others": []}


def test_tracks_of_vehicles_stand_beside_those_of_people(ada: Client, town: Town) -> None:
    drives = [
        msgspec.structs.replace(one, label=["car"] * len(one.label)) if isinstance(one, Detections) else one
        for one in walks(0)
    ]
    to = ago(minutes=30)
    keep(rehearsals.archive_root(), moved(drives, camera=town.gate.uid, deployment=town.deployment.uid, to=to))
    answer = ada.get(f"/setup/cameras/{town.gate.uid}/walked/").json()
    assert answer["people"] == [] and len(answer["others"]) == 1


def test_a_column_is_as_high_as_what_it_counts(town: Town) -> None:
    hours = {name: [0] * 24 for name in ("same", "new", "gone")}
    hours["same"][3], hours["new"][3], hours["gone"][9] = 2, 2, 1
    seconds = {"whole_s": [3600.0] * 24, "unknown_s": [1800.0] + [0.0] * 23}
    summary = {"fired": 4, "same": 2, "new": [], "gone": [], "unknown_s": {}, "hours": {**hours, **seconds}}
    now = timezone.now()
    stored = Rehearsal.objects.create(
        author=town.ada, draft={}, cameras=[], from_at=now, until_at=now, created_at=now, time_zone="UTC",
        state="done", summary=summary, in_force_number=1,
    )  # fmt: skip
    columns = panel(stored, []).columns
    assert [(bar.look, float(bar.height)) for bar in columns[3].bars] == [("same", 46.0), ("new", 46.0)]
    assert [(bar.look, float(bar.height)) for bar in columns[9].bars] == [("gone", 23.0)]
    assert [(bar.look, float(bar.height)) for bar in columns[0].bars] == [("blind", 48.0)]
    assert columns[0].unknown == "30 min"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (4320, "1 h 12 min"), (3599, "1 h"), (86_399, "1 d"), (594_000, "6 d 21 h")],
)
def test_lengths_of_time_are_read_at_a_glance(seconds: float, said: str) -> None:
    assert duration(seconds) == said

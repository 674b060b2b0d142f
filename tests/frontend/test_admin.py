"""The administrator's pages, through forms as a browser posts them: what is typed runs, and no log-in comes back."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import translation
from msgspec import Meta

from alerts.answering import KEPT
from alerts.editing import save_rule
from alerts.models import Contact, Count, InboundMessage, Recipient, Rule, Zone
from alerts.rules.config import CommonConfig
from alerts.rules.registry import RULES, rule_kind
from alerts.texts import label_name
from detectors.models import Deployment
from frontend import tokens
from frontend.admin import rule_form
from frontend.forms import Unsupported, fields_for, initial_for, values_from
from frontend.models import ApiToken, User
from streams.credentials import unseal
from streams.ids import new_uid
from streams.models import Camera, Demand, SequenceCounter, Site, Source, View
from tests.town import NOW, SQUARE, Town, build_town, new_incident, new_rule

pytestmark = pytest.mark.django_db

CANARY_USER, CANARY_PASSWORD = "kanarie-user", "kanarie-p@ss/word"


@pytest.fixture(autouse=True)
def _static_folder(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path  # WhiteNoise warns of a missing one


@pytest.fixture
def town() -> Town:
    return build_town()


@pytest.fixture
def browser(town: Town) -> Client:
    client = Client()
    client.force_login(town.ada)
    return client


def page(name: str, *args: Any) -> str:
    return reverse(f"admin:{name}", args=args)


def errors(response: Any) -> str:
    """Every error on a form page, in one text."""
    context = response.context
    found = [str(context["adminform"].form.errors)]
    found += [str(formset.formset.errors) for formset in context.get("inline_admin_formsets", ())]
    return " ".join(found)


def test_counts_name_their_lines_and_turns_both(town: Town, browser: Client) -> None:
    north = Zone.objects.create(view=town.zone.view, name="North", shape="line", points=[[0.2, 0.1], [0.2, 0.9]])
    row = {"camera": town.gate, "rule_version": new_uid(), "zone": north.uid, "label": "car", "seen_s": 900.0}
    row |= {"from_at": NOW, "until_at": NOW + timedelta(minutes=15)}
    Count.objects.create(**row, direction="turn", to_zone=town.zone.uid, count=7)
    Count.objects.create(**row, direction="turn", to_zone=new_uid(), count=1)
    Count.objects.create(**row, direction="forward", count=12)
    shown = browser.get(page("alerts_count_changelist")).content.decode()
    assert "North → Lane" in shown and "North → a deleted line" in shown and "with the arrow" in shown
    (turn,) = Count.objects.filter(count=7)
    assert "North → Lane" in browser.get(page("alerts_count_change", turn.pk)).content.decode()


def camera_form(town: Town, **changes: Any) -> dict[str, Any]:
    form = {
        "name": "Dock",
        "site": town.site.pk,
        "group": town.gate.group.pk,
        "carrier": "fixed",
        "enabled": "on",
        "evidence_px": 960,
        "gated": "on",
        "sources-TOTAL_FORMS": 1,
        "sources-INITIAL_FORMS": 0,
        "sources-0-role": "detect",
        "sources-0-address": "rtsp://10.1.2.3:554/live",
        "sources-0-user_name": CANARY_USER,
        "sources-0-password": CANARY_PASSWORD,
    }
    return form | changes


def rule_values(town: Town, *zones: Zone, **changes: Any) -> dict[str, Any]:
    form = {
        "name": "Person in the dock",
        "severity": "high",
        "enabled": "on",
        "deployment": town.deployment.pk,
        "zones": [zone.pk for zone in zones],
        **{
            f"setting_{name}": "" if value is None else value
            for name, value in initial_for(rule_kind("presence")).items()
        },
        "days_1": [0, 1, 2, 3, 4],
        "from_1": "22:00",
        "until_1": "06:00",
        "from_2": "00:00",
        "until_2": "00:00",
        "why_it_matters": "",
        "procedure": "Look.\nCall.",
    }
    return form | changes


def test_an_administrator_adds_a_camera_a_zone_a_rule_and_a_recipient(town: Town, browser: Client) -> None:
    before = SequenceCounter.current(SequenceCounter.CONFIGURATION)
    assert browser.post(page("streams_camera_add"), camera_form(town)).status_code == 302
    camera = Camera.objects.get(name="Dock")
    view = camera.views.get()

    corners = {"view": view.pk, "name": "Edge", "shape": "polygon", "points": str(SQUARE)}
    assert browser.post(page("alerts_zone_add"), corners).status_code == 302
    zone = Zone.objects.get(name="Edge")

    told = {
        "name": "Gate guard",
        "language": "zh-hant",
        "time_zone": "Asia/Taipei",
        "active": "on",
        "contacts-TOTAL_FORMS": 1,
        "contacts-INITIAL_FORMS": 0,
        "contacts-0-channel": "sms",
        "contacts-0-address": "+886 912-345-678",
        "contacts-0-order": 0,
    }
    assert browser.post(page("alerts_recipient_add"), told).status_code == 302
    recipient = Recipient.objects.get()
    assert Contact.objects.get().address == "+886912345678"

    values = rule_values(town, zone, recipients=[recipient.pk])
    assert browser.post(page("alerts_rule_add"), values).status_code == 302
    rule = Rule.objects.get()
    version = rule.versions.get()
    assert list(rule.recipients.all()) == [recipient]
    assert (version.author, version.severity) == (town.ada, "high")
    assert version.embedded["zones"][0]["camera"] == str(camera.uid)
    assert (
        version.embedded["schedule"].items()
        >= {
            "time_zone": "Asia/Taipei",
            "spans": [{"days": [0, 1, 2, 3, 4], "from": "22:00", "until": "06:00"}],
        }.items()
    )
    assert (Demand.objects.get().camera, Demand.objects.get().wanted_by) == (camera, version.uid)
    assert SequenceCounter.current(SequenceCounter.CONFIGURATION) > before


def test_a_log_in_is_sealed_and_never_comes_back(town: Town, browser: Client) -> None:
    bodies = [browser.post(page("streams_camera_add"), camera_form(town), follow=True).content.decode()]
    source = Source.objects.get()
    assert unseal(source.credentials) == (CANARY_USER, CANARY_PASSWORD)
    assert CANARY_USER not in source.address
    change = page("streams_camera_change", source.camera.pk)
    bodies += [browser.get(change).content.decode()]
    bodies += [browser.get(page("streams_camera_history", source.camera.pk)).content.decode()]
    kept = camera_form(
        town,
        **{
            "name": "",
            "sources-INITIAL_FORMS": 1,
            "sources-0-id": source.pk,
            "sources-0-camera": source.camera.pk,
        },
    )
    refused = browser.post(change, kept)
    assert refused.status_code == 200
    bodies += [refused.content.decode(), browser.get(page("streams_camera_changelist")).content.decode()]
    for body in bodies:
        assert "kanarie" not in body
        assert bytes(source.credentials).decode() not in body


def edited(town: Town, source: Source, **changes: Any) -> dict[str, Any]:
    """The form of a camera that is there, its log-in left empty."""
    own = {"sources-INITIAL_FORMS": 1, "sources-0-id": source.pk, "sources-0-camera": source.camera.pk}
    return camera_form(town, **{**own, "sources-0-user_name": "", "sources-0-password": "", **changes})


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, (CANARY_USER, CANARY_PASSWORD)),
        ({"sources-0-password": "new"}, (CANARY_USER, "new")),
        ({"sources-0-user_name": "eve", "sources-0-password": " pass "}, ("eve", " pass ")),
        ({"sources-0-forget_login": "on"}, None),
    ],
    ids=["left empty", "a new password", "both", "forgotten"],
)
def test_a_log_in_left_empty_is_kept(town: Town, browser: Client, changes: dict[str, str], kept: Any) -> None:
    browser.post(page("streams_camera_add"), camera_form(town))
    source = Source.objects.get()
    response = browser.post(page("streams_camera_change", source.camera.pk), edited(town, source, **changes))
    assert response.status_code == 302, errors(response)
    source.refresh_from_db()
    assert unseal(source.credentials) == kept


BAD_ADDRESSES = [
    ("http://10.1.2.3/video", "Only rtsp:// and rtsps://"),
    ("file:///etc/passwd", "Only rtsp:// and rtsps://"),
    ("rtsp://127.0.0.1:554/live", "this machine itself"),
    ("rtsp://169.254.169.254/latest", "metadata"),
    ("rtsp://239.1.1.1/live", "multicast"),
    ("rtsp://kanarie:kanarie@10.1.2.3/live", "their own fields"),
    ("rtsp://kanarie:12/kanarie@10.1.2.3/live", "No machine of the name kanarie"),
    ("rtsp://10.1.2.3/live?channel=1&Password=kanarie", "contains a password"),
    ("rtsp://10.1.2.3/live?pwd=kanarie", "contains a password"),
    ("rtsp://10.1.2.3/live?token=kanarie&x=1", "contains a password"),
    ("rtsp://no-such-host.invalid/live", "No machine of the name no-such-host.invalid"),
    ("not an address", "space"),
]


@pytest.mark.parametrize(("address", "words"), BAD_ADDRESSES)
def test_a_wrong_address_is_refused_beside_its_field(town: Town, browser: Client, address: str, words: str) -> None:
    response = browser.post(page("streams_camera_add"), camera_form(town, **{"sources-0-address": address}))
    assert response.status_code == 200
    assert words in errors(response)
    shown = response.content.decode()
    assert "kanarie" not in shown.replace("No machine of the name kanarie", "")
    assert not Camera.objects.filter(name="Dock").exists()


def test_a_kept_address_comes_back_as_it_is_and_is_listed_without_its_query(town: Town, browser: Client) -> None:
    address = "rtsp://10.1.2.3:554/live@main?channel=1"
    browser.post(page("streams_camera_add"), camera_form(town, **{"sources-0-address": address}))
    source = Source.objects.get()
    assert address in browser.get(page("streams_camera_change", source.camera.pk)).content.decode()
    listed = browser.get(page("streams_camera_changelist")).content.decode()
    assert "rtsp://10.1.2.3:554/live@main?…" in listed
    assert "channel=1" not in listed


def scheduled_rule(town: Town, *zones: Zone) -> Rule:
    spans = [{"days": [0], "from": "22:00", "until": "06:00"}]
    rule = new_rule(town, schedule=spans)
    save_rule(rule, zones=zones or [town.zone], author=None, now=NOW)
    return rule


def yard_zone(town: Town) -> Zone:
    return Zone.objects.create(view=town.yard.views.get(), name="Yard", points=SQUARE)


def in_force(rule: Rule) -> dict[str, Any]:
    embedded: dict[str, Any] = rule.versions.get(active_until_at__isnull=True).embedded
    return embedded


def moved_camera(town: Town, site: Site) -> dict[str, Any]:
    source = Source.objects.create(camera=town.gate, address="rtsp://10.1.2.3:554/live")
    return edited(town, source, name="Gate", site=site.pk)


def test_a_camera_moved_to_another_site_keeps_its_rules_by_that_site_s_clock(town: Town, browser: Client) -> None:
    rule = scheduled_rule(town)
    paris = Site.objects.create(name="Quai", time_zone="Europe/Paris")
    response = browser.post(page("streams_camera_change", town.gate.pk), moved_camera(town, paris))
    assert response.status_code == 302, errors(response)
    assert in_force(rule)["schedule"]["time_zone"] == "Europe/Paris"


def test_a_camera_whose_move_would_split_a_schedule_stays(town: Town, browser: Client) -> None:
    rule = scheduled_rule(town, town.zone, yard_zone(town))
    paris = Site.objects.create(name="Quai", time_zone="Europe/Paris")
    response = browser.post(page("streams_camera_change", town.gate.pk), moved_camera(town, paris))
    assert "“Person in the lane” depends on it" in errors(response)
    assert "different time zones" in errors(response)
    assert in_force(rule)["schedule"]["time_zone"] == "Asia/Taipei"


def test_a_site_whose_new_clock_would_split_a_schedule_keeps_its_own(town: Town, browser: Client) -> None:
    other = Site.objects.create(name="Annex", time_zone="Asia/Taipei")
    Camera.objects.filter(pk=town.yard.pk).update(site=other)
    rule = scheduled_rule(town, town.zone, yard_zone(town))
    form = {"name": "Annex", "time_zone": "Europe/Paris", "contact": ""}
    response = browser.post(page("streams_site_change", other.pk), form)
    assert "different time zones" in errors(response)
    assert "time_zone" in response.context["adminform"].form.errors
    Rule.objects.update(schedule=[])
    save_rule(Rule.objects.get(), zones=list(rule.zones.all()), author=None, now=NOW)
    assert browser.post(page("streams_site_change", other.pk), form).status_code == 302


def test_a_view_moved_to_another_camera_takes_its_rules_there_or_stays(town: Town, browser: Client) -> None:
    rule = scheduled_rule(town)
    view = town.zone.view
    form = {"camera": town.yard.pk, "name": "Second", "masks": "[]"}
    response = browser.post(page("streams_view_change", view.pk), form)
    assert response.status_code == 302, errors(response)
    assert in_force(rule)["zones"][0]["camera"] == str(town.yard.uid)
    assert Demand.objects.get().camera == town.yard
    town.deployment.all_cameras = False
    town.deployment.save()
    town.deployment.cameras.set([town.yard])
    response = browser.post(page("streams_view_change", view.pk), form | {"camera": town.gate.pk})
    assert "does not run on camera “Gate”" in errors(response)
    assert in_force(rule)["zones"][0]["camera"] == str(town.yard.uid)


def test_a_contact_that_was_switched_off_is_tried_again_at_a_click(town: Town, browser: Client) -> None:
    recipient = Recipient.objects.create(name="Guard")
    contact = Contact.objects.create(
        recipient=recipient, channel="sms", address="+886912345678", disabled_at=NOW, disabled_reason="21610: stopped"
    )
    change = page("alerts_recipient_change", recipient.pk)
    assert "21610: stopped" in browser.get(change).content.decode()
    form = {
        "name": "Guard", "language": "en", "time_zone": "", "active": "on",
        "contacts-TOTAL_FORMS": 1, "contacts-INITIAL_FORMS": 1, "contacts-0-id": contact.pk,
        "contacts-0-recipient": recipient.pk, "contacts-0-channel": "sms", "contacts-0-address": "+886912345678",
        "contacts-0-order": 0,
    }  # fmt: skip
    browser.post(change, form)
    contact.refresh_from_db()
    assert contact.disabled_at == NOW
    response = browser.post(change, form | {"contacts-0-try_again": "on"})
    assert response.status_code == 302, errors(response)
    contact.refresh_from_db()
    assert (contact.disabled_at, contact.disabled_reason) == (None, "")


def test_labels_are_offered_in_the_reader_s_words(town: Town, browser: Client) -> None:
    assert ">street furniture<" in browser.get(page("alerts_rule_add")).content.decode()
    User.objects.update(language="zh-hant")
    with translation.override("zh-hant"):
        words = label_name("person")
    assert words != "person"
    assert f">{words}<" in browser.get(page("alerts_rule_add")).content.decode()


BAD_ZONES = [
    ("[[0.1, 0.1], [1.4, 0.1], [0.5, 0.5]]", "outside the picture"),
    ("[[0, 0], [1, 1], [1, 0], [0, 1]]", "crosses edge"),
    ("[[0, 0], [NaN, 1], [1, 0]]", "no ordinary number"),
    ("[[0, 0], [1e999, 1], [1, 0]]", "no ordinary number"),
    ("[[0, 0], [0.5, 0.5], [1, 1]]", "one line"),
    ('{"x": 1}', "list of [x, y] corners"),
    ("nonsense", "JSON"),
]


@pytest.mark.parametrize(("points", "words"), BAD_ZONES)
def test_a_wrong_zone_is_refused_beside_its_field(town: Town, browser: Client, points: str, words: str) -> None:
    form = {"view": View.objects.filter(camera=town.gate).get().pk, "name": "Bad", "shape": "polygon", "points": points}
    response = browser.post(page("alerts_zone_add"), form)
    assert response.status_code == 200
    assert words in errors(response)
    assert not Zone.objects.filter(name="Bad").exists()


BAD_RULES = [
    ({"setting_confidence": "1.5"}, "setting_confidence"),
    ({"setting_hold_s": "NaN"}, "setting_hold_s"),
    ({"setting_hold_s": "1e400"}, "setting_hold_s"),
    ({"setting_confirm_k": "9"}, "setting_confirm_k"),
    ({"setting_confirm_within_s": "0"}, "setting_confirm_within_s"),
    ({"setting_labels": ["dog"]}, "setting_labels"),
    ({"setting_labels": ["unicorn"]}, "setting_labels"),
    ({"setting_rearm": "never"}, "setting_rearm"),
    ({"from_1": "25:00"}, "from_1"),
    ({"zones": []}, "zones"),
    ({"name": "person in the lane"}, "name"),
]


@pytest.mark.parametrize(("changes", "field"), BAD_RULES)
def test_a_wrong_rule_is_refused_beside_its_field(
    town: Town, browser: Client, changes: dict[str, Any], field: str
) -> None:
    save_rule(new_rule(town), zones=[town.zone], author=None, now=NOW)
    response = browser.post(page("alerts_rule_add"), rule_values(town, town.zone, **changes))
    assert response.status_code == 200
    shown = response.context["adminform"]
    assert field in shown.form.errors
    folded = [fieldset for fieldset in shown if "collapse" in fieldset.classes]
    assert field not in str([fieldset.fields for fieldset in folded])
    assert Rule.objects.count() == 1


def test_an_edit_shows_what_is_set_and_makes_the_next_version(town: Town, browser: Client) -> None:
    browser.post(page("alerts_rule_add"), rule_values(town, town.zone, setting_hold_s="7.5"))
    rule = Rule.objects.get()
    change = page("alerts_rule_change", rule.pk)
    form = browser.get(change).context["adminform"].form
    assert (form["setting_hold_s"].value(), form["days_1"].value()) == (7.5, [0, 1, 2, 3, 4])
    browser.post(change, rule_values(town, town.zone, setting_hold_s="9"))
    assert [version.embedded["config"]["hold_s"] for version in rule.versions.all()] == [9.0, 7.5]


def test_a_rule_is_switched_off_not_deleted(town: Town, browser: Client) -> None:
    browser.post(page("alerts_rule_add"), rule_values(town, town.zone))
    rule = Rule.objects.get()
    assert browser.post(page("alerts_rule_delete", rule.pk), {"post": "yes"}).status_code == 403
    values = rule_values(town, town.zone)
    del values["enabled"]
    browser.post(page("alerts_rule_change", rule.pk), values)
    assert not Demand.objects.exists()


def test_a_deployment_that_a_rule_needs_cannot_be_switched_off(town: Town, browser: Client) -> None:
    browser.post(page("alerts_rule_add"), rule_values(town, town.zone))
    form = {"name": "General", "model": town.deployment.model.pk, "pool": "general", "when": "always", "hz": 5}
    response = browser.post(page("detectors_deployment_change", town.deployment.pk), form | {"all_cameras": "on"})
    assert "“Person in the dock” depends on it" in errors(response)
    assert Deployment.objects.get().enabled


def test_a_token_is_shown_once_in_the_answer_and_nowhere_else(town: Town, browser: Client) -> None:
    form = {"name": "script", "user": town.alice.pk, "expires_at_0": "", "expires_at_1": ""}
    response = browser.post(page("frontend_apitoken_add"), form)
    body = response.content.decode()
    found = re.findall(r"poliscope_[\w-]{43}", body)
    assert len(set(found)) == 1
    assert tokens.authenticate(found[0]) == town.alice
    assert "no-store" in response["Cache-Control"]
    assert found[0] not in str(response.cookies)
    token = ApiToken.objects.get()
    for again in (page("frontend_apitoken_change", token.pk), page("frontend_apitoken_changelist")):
        assert found[0] not in browser.get(again).content.decode()


def test_the_last_administrator_cannot_step_down(town: Town, browser: Client) -> None:
    form = {"username": "ada", "role": "operator", "language": "en", "time_zone": "UTC", "is_active": "on"}
    response = browser.post(page("frontend_user_change", town.ada.pk), form)
    assert "last active administrator" in errors(response)
    User.objects.create_user("eve", role=User.Role.ADMINISTRATOR)
    response = browser.post(page("frontend_user_change", town.ada.pk), form)
    assert response.status_code == 302, errors(response)
    assert browser.get(page("index")).status_code == 302


def test_a_person_is_added_with_role_and_groups(town: Town, browser: Client) -> None:
    form = {
        "username": "dora",
        "usable_password": "true",
        "password1": "a-Long-enough-1",
        "password2": "a-Long-enough-1",
        "role": "supervisor",
        "camera_groups": [town.gate.group.pk],
        "is_active": "on",
        "language": "zh-hant",
        "time_zone": "Asia/Taipei",
    }
    response = browser.post(page("frontend_user_add"), form)
    assert response.status_code == 302, errors(response)
    dora = User.objects.get(username="dora")
    assert (dora.role, dora.language, dora.is_staff) == ("supervisor", "zh-hant", False)
    assert dora.check_password("a-Long-enough-1")
    assert list(dora.camera_groups.all()) == [town.gate.group]


def received(sender: str, text: str, outcome: str, **more: Any) -> InboundMessage:
    count = InboundMessage.objects.count()
    at = {"at": NOW + timedelta(minutes=count), "taken_at": NOW + timedelta(minutes=count)}
    return InboundMessage.objects.create(
        provider_id=f"SM{count}", sender=sender, text=text, outcome=outcome, **at, **more
    )


def test_what_people_wrote_is_listed_with_whose_number_it_is_and_what_was_done(town: Town, browser: Client) -> None:
    for name in ("Bob", "Guard"):
        Contact.objects.create(
            recipient=Recipient.objects.create(name=name), channel="sms", address="+886912345678", confirmed_at=NOW
        )
    incident = new_incident(town.gate, town.site)
    own = received("+886912345678", "47 ok", "acknowledged", incident=incident, reply="You have it.", replied_at=NOW)
    received("+15005550042", "<script>alert(1)</script>", "stranger")
    shown = browser.get(page("alerts_inboundmessage_changelist")).content.decode()
    rows = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown))
    assert "Bob and 1 more, +886912345678" in rows and "47 ok" in rows and "an incident was acknowledged" in rows
    assert "+15005550042 (nobody&#x27;s number)" in rows and "nothing: the number is nobody&#x27;s" in rows
    assert "<script>alert(1)" not in shown and "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    one = browser.get(page("alerts_inboundmessage_change", own.pk)).content.decode()
    assert f'href="/incidents/{incident.uid}/"' in one and "You have it." in one
    assert 'type="submit"' not in one.partition('id="inboundmessage_form"')[2].partition("</form>")[0]


def test_a_received_message_is_neither_added_changed_nor_deleted(town: Town, browser: Client) -> None:
    own = received("+15005550042", "Hello", "stranger")
    for name, arguments in (("add", []), ("delete", [own.pk])):
        assert browser.get(page(f"alerts_inboundmessage_{name}", *arguments)).status_code == 403
    address = page("alerts_inboundmessage_change", own.pk)
    assert browser.post(address, {"text": "Something else"}).status_code == 403
    own.refresh_from_db()
    assert own.text == "Hello"


def test_where_nobody_has_written_yet_it_is_said_what_will_stand_there(town: Town, browser: Client) -> None:
    address = page("alerts_inboundmessage_changelist")
    shown = browser.get(address).content.decode()
    assert "Nobody has written yet" in shown and "stands here for 90 days" in shown and KEPT.days == 90
    received("+15005550042", "Hello", "stranger")
    assert "Nobody has written yet" not in browser.get(address).content.decode()
    assert "Nobody has written yet" not in browser.get(address, {"outcome__exact": "which"}).content.decode()


@pytest.mark.parametrize("who", ["alice", "bob", "charlie", "olive"])
def test_nobody_but_administrators_gets_in(town: Town, who: str) -> None:
    client = Client()
    client.force_login(getattr(town, who))
    assert client.get(page("index")).status_code == 302
    assert client.get(page("streams_camera_changelist")).status_code == 302


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label_lower)
@pytest.mark.parametrize("language", ["en", "zh-hant"])
def test_every_page_opens(town: Town, browser: Client, model: Any, language: str) -> None:
    User.objects.update(language=language)
    name = f"{model._meta.app_label}_{model._meta.model_name}"
    assert browser.get(page(f"{name}_changelist")).status_code == 200
    expected = 200 if admin.site._registry[model].has_add_permission(browser.get(page("index")).wsgi_request) else 403
    assert browser.get(page(f"{name}_add")).status_code == expected


def test_nothing_of_a_name_is_taken_for_markup(town: Town, browser: Client) -> None:
    town.gate.name = town.zone.name = "<script>alert(1)</script>"
    town.gate.save()
    town.zone.save()
    for name in ("streams_camera_changelist", "alerts_zone_changelist", "alerts_rule_add", "streams_view_changelist"):
        assert "<script>alert" not in browser.get(page(name)).content.decode()


@pytest.mark.parametrize("kind", RULES)
def test_every_kind_of_rule_has_its_form_for_free(kind: str) -> None:
    struct = rule_kind(kind)
    assert issubclass(struct, CommonConfig)
    form = rule_form(kind)
    assert not {f"setting_{name}" for name in struct.unused | {"why"}} & set(form.base_fields)
    for name in set(struct.__struct_fields__) - struct.unused - {"why"}:
        field = form.base_fields[f"setting_{name}"]
        assert field.label, f"{kind}.{name} needs Meta(title=…)"
        assert field.help_text, f"{kind}.{name} needs Meta(description=…)"
    assert values_from(struct, initial_for(struct)).keys() == set(struct.__struct_fields__)


def test_a_config_of_every_supported_type_becomes_fields() -> None:
    class Kind(msgspec.Struct, frozen=True, kw_only=True):
        count: Annotated[int, Meta(ge=1, le=9, title="Count", description="How many.")] = 2
        share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
        limit: Annotated[float, Meta(ge=0)] | None = None
        on: bool = True
        side: Literal["left", "right"] = "left"
        words: list[str] = msgspec.field(default_factory=lambda: ["a", "b"])
        note: str = ""

    fields = fields_for(Kind)
    assert (fields["count"].label, fields["count"].help_text) == ("Count", "How many.")
    assert [type(field).__name__ for field in fields.values()] == [
        "IntegerField",
        "FloatField",
        "FloatField",
        "BooleanField",
        "ChoiceField",
        "WordsField",
        "CharField",
    ]
    assert not fields["limit"].required
    assert fields["words"].clean("a, b,, c ") == ["a", "b", "c"]
    assert initial_for(Kind, {"count": 5, "gone": 1})["count"] == 5
    assert values_from(Kind, {"limit": None, "side": "right"}) == {"limit": None, "side": "right"}


def test_a_number_for_each_label_is_one_line_of_words() -> None:
    class Kind(msgspec.Struct, frozen=True, kw_only=True):
        scores: Annotated[dict[str, Annotated[float, Meta(ge=0, le=1)]], Meta(title="Scores")] = msgspec.field(
            default_factory=dict
        )
        times: list[Annotated[str, Meta(pattern=r"^[0-9:]+$")]] = msgspec.field(default_factory=list)

    fields = fields_for(Kind)
    scores, times = fields["scores"], fields["times"]
    assert (scores.label, scores.required) == ("Scores", False)
    assert scores.clean("fire 0.4, hot-dog: 0.5,, smoke=1") == {"fire": 0.4, "hot-dog": 0.5, "smoke": 1.0}
    assert scores.clean("") == {} and times.clean("06:00, 18:30") == ["06:00", "18:30"]
    assert scores.prepare_value({"fire": 0.4, "smoke": 1.0}) == "fire 0.4, smoke 1"
    for wrong in ("fire", "0.4", "fire nan", "fire 1e999", "fire 0.4, fire 0.5"):
        with pytest.raises(ValidationError, match=r"Write for example|stands there twice"):
            scores.clean(wrong)


def test_a_type_without_a_field_is_named() -> None:
    class Kind(msgspec.Struct):
        table: dict[str, list[int]]

    with pytest.raises(Unsupported, match=r"Kind\.table: expected bool, .* got DictType"):
        fields_for(Kind)


def test_versions_that_an_edit_of_a_zone_a_place_or_a_view_makes_are_by_whoever_made_it(
    town: Town, browser: Client
) -> None:
    zone, view = town.zone, town.zone.view
    rule = scheduled_rule(town, zone, yard_zone(town))
    save_rule(rule, zones=list(rule.zones.all()), author=None, now=NOW)
    site = {"name": "Harbour", "time_zone": "Europe/Paris", "contact": ""}
    ground = json.dumps({"points": [[0.3, 0.4], [0.7, 0.4], [0.9, 0.9], [0.1, 0.9]], "width_m": 4, "depth_m": 10})
    moved = {"view": view.pk, "name": "Lane", "shape": "polygon", "points": "[[0.2,0.1],[0.6,0.1],[0.6,0.9],[0.2,0.9]]"}
    edits: list[tuple[str, int, dict[str, Any]]] = [
        ("alerts_zone_change", zone.pk, moved),
        ("streams_site_change", town.site.pk, site),
        ("streams_view_change", view.pk, {"camera": town.gate.pk, "name": view.name, "masks": "[]", "ground": ground}),
        ("alerts_zone_delete", zone.pk, {"post": "yes"}),
    ]
    for number, (name, pk, form) in enumerate(edits, start=2):
        response = browser.post(page(name, pk), form)
        assert response.status_code == 302, errors(response)
        newest = rule.versions.order_by("-number").first()
        assert newest is not None and (newest.number, newest.author) == (number, town.ada)


def test_what_goes_with_a_deleted_view_makes_versions_by_whoever_deleted_it(town: Town, browser: Client) -> None:
    rule = scheduled_rule(town, town.zone, yard_zone(town))
    response = browser.post(page("streams_view_delete", town.yard.views.get().pk), {"post": "yes"})
    assert response.status_code == 302, errors(response)
    version = rule.versions.get(active_until_at__isnull=True)
    assert [zone["name"] for zone in version.embedded["zones"]] == [town.zone.name]
    assert version.author == town.ada

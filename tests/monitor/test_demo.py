"""The demo site: made once, moved to another port afterwards, and never put back against its owner's will."""

from __future__ import annotations

import msgspec
import pytest

from alerts.models import Contact, Recipient, Rule, RuleVersion, Zone
from alerts.rules.config import EmbeddedRule
from alerts.zones import check_points
from detectors.models import Deployment, Model
from monitor import demo
from streams.models import Camera, Demand, SequenceCounter, Site, Source
from streams.scenes import SCENES

pytestmark = pytest.mark.django_db


def addresses() -> set[str]:
    return set(Source.objects.values_list("address", flat=True))


def test_it_makes_four_cameras_of_one_site_with_a_rule_each() -> None:
    demo.seed(5541)
    assert Site.objects.get().time_zone == "Asia/Taipei"
    assert addresses() == {f"rtsp://127.0.0.1:5541/{scene.key}" for scene in SCENES}
    assert Camera.objects.filter(enabled=True).count() == 4
    assert sorted(Camera.objects.values_list("slot", flat=True)) == [0, 1, 2, 3]
    assert set(Rule.objects.values_list("severity", flat=True)) == {"medium", "high", "critical"}
    for rule in Rule.objects.all():
        assert rule.zones.count() == 1 and rule.recipients.count() == 2 and rule.procedure


def test_its_rules_are_in_force_and_ask_for_pictures() -> None:
    demo.seed(5541)
    for version in RuleVersion.objects.filter(active_until_at__isnull=True):
        embedded = msgspec.convert(version.embedded, EmbeddedRule, strict=False)
        assert embedded.kind == "presence" and len(embedded.zones) == 1
    assert Demand.objects.filter(pool="general").count() == 4


def test_its_zones_lie_within_the_picture() -> None:
    demo.seed(5541)
    for zone in Zone.objects.all():
        check_points(zone.points, zone.shape)


def test_it_runs_the_shipped_model_on_all_cameras() -> None:
    demo.seed(5541)
    model, deployment = Model.objects.get(), Deployment.objects.get()
    assert (model.backend, model.card, model.licence) == ("openvino", "nanodet_g", "Apache-2.0")
    assert "person" in model.labels
    assert (deployment.name, deployment.pool, deployment.all_cameras) == ("general", "general", True)


def test_it_tells_one_person_in_each_language_by_sms_and_email() -> None:
    demo.seed(5541)
    assert set(Recipient.objects.values_list("language", flat=True)) == {"en", "zh-hant"}
    for recipient in Recipient.objects.all():
        assert set(recipient.contacts.values_list("channel", flat=True)) == {"sms", "email"}
    assert all("@example.org" in one.address for one in Contact.objects.filter(channel="email"))


def test_a_second_start_changes_nothing() -> None:
    demo.seed(5541)
    before = (SequenceCounter.current("configuration"), RuleVersion.objects.count(), Camera.objects.count())
    demo.seed(5541)
    assert (SequenceCounter.current("configuration"), RuleVersion.objects.count(), Camera.objects.count()) == before


def test_a_start_on_another_port_moves_the_addresses_and_nothing_else() -> None:
    demo.seed(5541)
    version, uids = SequenceCounter.current("configuration"), set(Camera.objects.values_list("uid", flat=True))
    Camera.objects.filter(name__startswith="North").update(name="Gate 7", enabled=False)
    demo.seed(5599)
    assert addresses() == {f"rtsp://127.0.0.1:5599/{scene.key}" for scene in SCENES}
    assert set(Camera.objects.values_list("uid", flat=True)) == uids
    assert not Camera.objects.get(name="Gate 7").enabled
    assert SequenceCounter.current("configuration") > version
    assert RuleVersion.objects.count() == 4


def test_it_does_not_bring_back_what_was_deleted() -> None:
    demo.seed(5541)
    Camera.objects.get(name__startswith="Drone").delete()
    demo.seed(5599)
    assert Camera.objects.count() == 3


def test_a_renamed_site_is_not_made_again() -> None:
    demo.seed(5541)
    Site.objects.update(name="Keelung")
    demo.seed(5599)
    assert Site.objects.count() == 1 and Camera.objects.count() == 4


def test_without_the_demo_its_cameras_rest_until_it_comes_back() -> None:
    demo.seed(5541)
    Camera.objects.filter(name__startswith="North").update(enabled=False)
    demo.retire()
    assert not Camera.objects.filter(enabled=True).exists()
    demo.seed(5599)
    assert Camera.objects.filter(enabled=True).count() == 3


def test_without_the_demo_an_empty_installation_stays_empty() -> None:
    demo.retire()
    assert not Camera.objects.exists()

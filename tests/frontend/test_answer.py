"""Signed links and providers' callbacks, as strangers without a cookie call them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from alerts import links
from alerts.delivery import deliver
from alerts.incidents import acknowledge, record
from alerts.models import Alert, Delivery, InboundMessage, Incident
from alerts.wording import link_of
from tests.alerts.town import EMAIL, SMS, Town, build_town
from tests.services.twilio import FakeTwilio
from tests.services.twilio import twilio as twilio

pytestmark = pytest.mark.django_db
ADDRESS = "https://watch.example.org"


@pytest.fixture
def town(db: None) -> Town:
    return build_town()


@pytest.fixture
def alert(town: Town) -> Alert:
    """Alice was told of something just now."""
    alice = town.person("Alice", SMS, EMAIL)
    alice.user = town.alice
    alice.save()
    record([town.event(happened_at=timezone.now(), frame=None)], now=timezone.now())
    return Alert.objects.get()


def path_of(alert: Alert, at: datetime | None = None) -> str:
    return f"/a/{link_of(alert, at or timezone.now()).rpartition('/')[2]}"


# Links


@pytest.mark.parametrize("method", ["get", "head"])
def test_looking_at_a_link_changes_nothing(alert: Alert, client: Client, method: str) -> None:
    response = getattr(client, method)(path_of(alert))

    assert response.status_code == 200
    assert Incident.objects.get().state == "open"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in response.headers["Cache-Control"]


def test_the_button_acknowledges_without_any_cookie(alert: Alert) -> None:
    response = Client(enforce_csrf_checks=True).post(path_of(alert))

    incident = Incident.objects.get()
    assert (response.status_code, incident.state, incident.acknowledged_by) == (
        200,
        "acknowledged",
        alert.recipient.user,
    )
    assert incident.transitions.last().through == "link"
    alert.refresh_from_db()
    assert alert.answered_through == "link"
    assert not Delivery.objects.filter(state="queued").exists(), "nothing more is sent"


def test_the_page_says_what_happened_and_names_nobody(alert: Alert, client: Client) -> None:
    page = client.get(path_of(alert)).content.decode()

    assert "Person in “Dock lane”" in page and "(Asia/Taipei)" in page
    assert "Alice" not in page and SMS[1] not in page and "<form" in page


def test_a_second_press_changes_nothing(alert: Alert, client: Client) -> None:
    acknowledge(alert.incident.uid, by=None, through="screen", now=timezone.now())

    page = client.post(path_of(alert)).content.decode()

    assert "Somebody has it already." in page and "<form" not in page
    alert.refresh_from_db()
    assert alert.answered_at is None


def test_a_link_expires(alert: Alert, client: Client) -> None:
    old = path_of(alert, timezone.now() - timedelta(seconds=links.VALID_S + 1))

    assert [client.get(old).status_code, client.post(old).status_code] == [410, 410]
    assert Incident.objects.get().state == "open"


def test_nobody_guesses_a_link(alert: Alert, client: Client) -> None:
    good = path_of(alert)
    for guess in (good[:-1] + ("A" if good[-1] != "A" else "B"), "/a/x", "/a/" + "A" * 28, good + "A", good[:-4]):
        assert client.post(guess).status_code == 404
    assert Incident.objects.get().state == "open"


def test_a_link_is_for_one_incident(alert: Alert, client: Client, town: Town) -> None:
    record([town.event(happened_at=timezone.now(), camera=town.yard.uid, frame=None)], now=timezone.now())

    client.post(path_of(alert))

    assert Incident.objects.get(camera=town.yard).state == "open"


def test_somebody_who_is_told_no_more_has_no_link(alert: Alert, client: Client) -> None:
    alert.recipient.active = False
    alert.recipient.save()

    assert client.post(path_of(alert)).status_code == 404


# Callbacks


STATUS, ANSWER = "/hooks/twilio/status/", "/hooks/twilio/answer/"


@pytest.fixture
def sent(alert: Alert, settings: Settings, twilio: FakeTwilio) -> Delivery:
    """Alice's SMS, which Twilio has taken and will report about."""
    settings.PUBLIC_URL = ADDRESS
    settings.TWILIO = {**twilio.settings, "callbacks": True}
    row = Delivery.objects.get(contact__channel="sms")
    assert deliver(row.uid) == "sent"
    assert twilio.messages[0].form["StatusCallback"] == ADDRESS + STATUS
    row.refresh_from_db()
    return row


def post(client: Client, path: str, form: dict[str, str], signature: str) -> int:
    return client.post(path, form, headers={"X-Twilio-Signature": signature}, secure=True).status_code


def status(sent: Delivery, twilio: FakeTwilio, word: str, code: int | None = None) -> dict[str, str]:
    return twilio.status_form(twilio.kept[0], word, code)


def test_a_signed_status_moves_a_delivery_on(sent: Delivery, twilio: FakeTwilio, client: Client) -> None:
    form = status(sent, twilio, "delivered")

    assert post(client, STATUS, form, twilio.signature(ADDRESS + STATUS, form)) == 200

    sent.refresh_from_db()
    assert sent.state == "delivered"


def test_statuses_that_come_twice_late_and_out_of_order_move_nothing_back(
    sent: Delivery, twilio: FakeTwilio, client: Client
) -> None:
    for word in ("sent", "delivered", "delivered", "sent", "queued", "undelivered", "failed"):
        form = status(sent, twilio, word, 30003 if word == "failed" else None)
        assert post(client, STATUS, form, twilio.signature(ADDRESS + STATUS, form)) == 200

    sent.refresh_from_db()
    assert sent.state == "delivered"
    assert Delivery.objects.count() == 2, "nobody is told once more"


@pytest.mark.parametrize("path", [STATUS, ANSWER])
def test_nothing_is_believed_without_a_good_signature(
    sent: Delivery, twilio: FakeTwilio, client: Client, settings: Settings, path: str
) -> None:
    form = {**status(sent, twilio, "delivered"), "From": SMS[1], "Body": "1"}
    good = twilio.signature(ADDRESS + path, form)
    forged = [
        "",
        "nonsense",
        twilio.signature(ADDRESS + path, form, token="another"),
        twilio.signature(ADDRESS + path, form, token=""),
        twilio.signature(ADDRESS.replace("https", "http") + path, form),
        twilio.signature("https://testserver" + path, form),
        twilio.signature(ADDRESS + (ANSWER if path == STATUS else STATUS), form),
    ]
    assert [post(client, path, form, signature) for signature in forged] == [403] * len(forged)
    assert post(client, path, {**form, "MessageSid": "SM0"}, good) == 403
    assert post(client, path, {**form, "More": "1"}, good) == 403
    settings.TWILIO = {**settings.TWILIO, "token": ""}
    assert post(client, path, form, twilio.signature(ADDRESS + path, form, token="")) == 403
    sent.refresh_from_db()
    assert (sent.state, Incident.objects.get().state, InboundMessage.objects.count()) == ("sent", "open", 0)


def test_a_status_of_a_message_that_is_not_ours_changes_nothing(
    sent: Delivery, twilio: FakeTwilio, client: Client
) -> None:
    form = {**status(sent, twilio, "failed"), "MessageSid": "SM" + "9" * 32}

    assert post(client, STATUS, form, twilio.signature(ADDRESS + STATUS, form)) == 200
    sent.refresh_from_db()
    assert sent.state == "sent"


def test_a_signed_answer_acknowledges_and_a_replayed_one_does_nothing(
    sent: Delivery, twilio: FakeTwilio, client: Client
) -> None:
    form = {"MessageSid": "SMin1", "From": SMS[1], "To": "+15005550006", "Body": "1"}
    signature = twilio.signature(ADDRESS + ANSWER, form)

    assert [post(client, ANSWER, form, signature) for _ in range(3)] == [200] * 3

    assert Incident.objects.get().state == "acknowledged"
    assert InboundMessage.objects.count() == 1
    assert len([kept for kept in twilio.kept if kept.body.startswith("You have it")]) == 1


def test_a_callback_is_only_posted(client: Client) -> None:
    assert [client.get(path).status_code for path in (STATUS, ANSWER)] == [405, 405]

"""Webhooks and chats against a real loopback server, and the addresses that are refused."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
import time

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from pytest_django import Settings

from alerts import confirmation, http
from alerts.contacts import clean_address
from alerts.delivery import _crowd, at_once, claim, deliver
from alerts.editing import Refused
from alerts.incidents import record
from alerts.models import Contact, Delivery, Recipient
from alerts.notifiers import deadline
from alerts.notifiers.base import SLOTS, DeliveryError, Message
from alerts.notifiers.chat import Chat
from alerts.notifiers.webhook import Webhook, secret_for
from tests.alerts.town import Town, at
from tests.services.drip import dripping
from tests.services.receiver import Receiver
from tests.services.receiver import receiver as receiver

SECRET = "s" * 50


def message(to: str) -> Message:
    return Message(to=to, text="Person in “Dock lane”", subject="High", reference="r1", content={"alerts": []})


def hook(receiver: Receiver) -> Webhook:
    return Webhook(SECRET, http.allowed_pairs([receiver.pair]))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.5)


# Webhooks


def test_a_receiver_can_tell_what_is_ours(receiver: Receiver) -> None:
    address = f"{receiver.url}/in?of=poliscope"

    receipt = hook(receiver).send(message(address), now_s=lambda: 1767225600.9)

    [posted] = receiver.received
    key = secret_for(address, SECRET).encode()
    expected = hmac.new(key, b"1767225600." + posted.content, hashlib.sha256).hexdigest()
    assert (posted.path, posted.headers["Poliscope-Timestamp"]) == ("/in?of=poliscope", "1767225600")
    assert posted.headers["Poliscope-Signature"] == f"v1={expected}"
    assert posted.headers["Poliscope-Delivery"] == "r1"
    assert json.loads(posted.content) == {"id": "r1", "subject": "High", "text": "Person in “Dock lane”", "alerts": []}
    assert receipt.provider_id == "200: thank you"


def test_one_receivers_secret_is_of_no_use_to_another() -> None:
    assert secret_for("https://a.example/", SECRET) != secret_for("https://b.example/", SECRET)


@pytest.mark.parametrize(
    ("status", "outcome", "says"),
    [
        (500, "definite", "500: thank you"),
        (503, "definite", "503"),
        (429, "definite", "429"),
        (404, "definite", "404"),
        (302, "definite", "redirects are not followed"),
        (410, "rejected", "410"),
        ("hang", "unknown", "no answer"),
        ("cut", "unknown", "no answer"),
    ],
)
def test_a_receivers_failures_are_told_apart(receiver: Receiver, status: int | str, outcome: str, says: str) -> None:
    receiver.status, receiver.headers = status, {"Location": f"{receiver.url}/elsewhere"} if status == 302 else {}

    with pytest.raises(DeliveryError) as caught:
        hook(receiver).send(message(f"{receiver.url}/in"))

    assert (caught.value.outcome, len(receiver.received)) == (outcome, 1)
    assert says in caught.value.text


def test_it_waits_as_long_as_the_receiver_asks(receiver: Receiver) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": "77"}

    with pytest.raises(DeliveryError) as caught:
        hook(receiver).send(message(receiver.url))

    assert caught.value.retry_after_s == 77


def test_a_receiver_that_sends_a_byte_now_and_then_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "WHOLE_S", 1.0)
    with dripping(b"HTTP/1.1 200 OK\r\n") as pair:
        target = http.check(f"http://{pair}/", None)
        started = time.monotonic()
        with pytest.raises(http.NoAnswer):
            http.call(target, "POST", b"{}")
        assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("url", "numbers"),
    [
        ("https://intranet.example/", ["10.1.2.3"]),
        ("https://intranet.example/", ["93.184.215.14", "192.168.1.1"]),
        ("https://127.0.0.1/", ["127.0.0.1"]),
        ("https://[::1]/", ["::1"]),
        ("https://metadata/", ["169.254.169.254"]),
        ("https://azure/", ["168.63.129.16"]),
        ("https://mapped/", ["::ffff:10.0.0.1"]),
        ("https://shared/", ["100.64.0.1"]),
        ("https://many/", ["224.0.0.1"]),
        ("https://zero/", ["0.0.0.0"]),
        ("http://example.org/", ["93.184.215.14"]),
    ],
)
def test_private_and_readable_addresses_are_refused_unless_allowed(url: str, numbers: list[str]) -> None:
    with pytest.raises(http.NotCalled, match="POLISCOPE_WEBHOOK_ALLOW") as caught:
        http.check(url, frozenset(), lambda host, port: numbers)
    assert caught.value.for_good

    parts, host, port = http.parse(url)
    assert http.check(url, frozenset({(host, port)}), lambda host, port: numbers).ip == numbers[0]
    assert parts.scheme in http.PORTS


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "ftp://example.org/", "https://", "https://a:b@example.org/", "https://a b/", "https://a:x/",
     "https://a/\r\nHost: b", "file:///etc/passwd"],
)  # fmt: skip
def test_what_is_no_address_of_a_receiver_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected https://HOST/PATH"):
        http.parse(url)


def test_a_name_is_resolved_once(receiver: Receiver) -> None:
    asked: list[str] = []

    def once(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    target = http.check(f"http://moves.example:{receiver.port}/", None, once)

    assert http.call(target, "GET").status == 200
    assert asked == ["moves.example"]
    assert receiver.received[0].headers["Host"] == f"moves.example:{receiver.port}"


@pytest.mark.django_db
def test_a_webhook_is_told_of_an_incident_and_its_address_is_kept_sealed(
    town: Town, receiver: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOW = [receiver.pair]
    address = f"{receiver.url}/hooks/a-secret-path"
    town.person("Machine", ("webhook", address))
    contact = Contact.objects.get()
    assert "a-secret-path" not in contact.address and address.encode() not in bytes(contact.sealed)
    assert contact.reach == address
    record([town.event(frame=None)], now=at(0))
    row = Delivery.objects.get()
    receiver.answers = [503]

    assert deliver(row.uid, clock=lambda: at(1)) == "queued"
    assert deliver(row.uid, clock=lambda: at(10)) == "sent"

    row.refresh_from_db()
    [said] = json.loads(receiver.received[1].content)["alerts"]
    assert receiver.received[0].headers["Poliscope-Delivery"] == receiver.received[1].headers["Poliscope-Delivery"]
    assert (said["severity"], said["camera"], said["label"]) == ("high", "Gate", "person")
    assert "a-secret-path" not in row.address and "a-secret-path" not in row.problem


@pytest.mark.django_db
def test_one_receiver_that_hangs_holds_only_itself(town: Town) -> None:
    places = ["https://a.example/x", "https://b.example/x"]
    for n in range(SLOTS):
        town.person(f"Machine {n}", ("webhook", f"{places[0]}/{n}"))
    town.person("Other", ("webhook", places[1]))
    record([town.event(frame=None)], now=at(0))
    for row in Delivery.objects.order_by("pk")[: at_once(SLOTS)]:
        claim(row.pk, "hangs", at(1))

    hanging = Delivery.objects.filter(state="queued").order_by("pk")[0]
    other = Delivery.objects.get(contact__recipient__name="Other")
    assert _crowd(hanging, more=1) > 0
    assert _crowd(other, more=1) <= 0


# Chats

# Apprise loads all its services at once; one of them imports what Python 3.13 leaves out.
APPRISE = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


def chat(receiver: Receiver) -> Chat:
    return Chat(http.allowed_pairs([receiver.pair]))


@APPRISE
def test_a_chat_message_goes_out_through_apprise(receiver: Receiver) -> None:
    pytest.importorskip("apprise")

    chat(receiver).send(message(f"ntfy://{receiver.pair}/topic"))

    [posted] = receiver.received
    assert "Dock lane" in posted.content.decode()


@APPRISE
@pytest.mark.parametrize(("status", "outcome"), [(403, "definite"), (500, "unknown"), ("cut", "unknown")])
def test_a_chats_failures_are_told_apart(receiver: Receiver, status: int | str, outcome: str) -> None:
    pytest.importorskip("apprise")
    receiver.status = status

    with pytest.raises(DeliveryError) as caught:
        chat(receiver).send(message(f"ntfy://alice:a-long-password@{receiver.pair}/topic"))

    assert caught.value.outcome == outcome
    assert "a-long-password" not in caught.value.text


@APPRISE
@pytest.mark.parametrize("host", ["{pair}", "localhost:{port}", "10.0.0.3", "169.254.169.254"])
def test_a_chat_of_ones_own_is_called_only_where_it_is_allowed(receiver: Receiver, host: str) -> None:
    pytest.importorskip("apprise")
    address = f"gotify://{host.format(pair=receiver.pair, port=receiver.port)}/a-token-of-15-letters"

    with pytest.raises(DeliveryError, match=r"got a private one; add .* to POLISCOPE_WEBHOOK_ALLOW") as caught:
        Chat().send(message(address))

    assert (caught.value.outcome, receiver.received) == ("rejected", [])


@APPRISE
def test_a_chat_that_sends_a_byte_now_and_then_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("apprise")
    monkeypatch.setattr(deadline, "WHOLE_S", 1.0)
    with dripping(b"HTTP/1.1 200 OK\r\n") as pair:
        started = time.monotonic()
        with pytest.raises(DeliveryError, match="no answer within 1 s") as caught:
            Chat(http.allowed_pairs([pair])).send(message(f"ntfy://{pair}/topic"))
        assert (caught.value.outcome, time.monotonic() - started < 5) == ("unknown", True)


@pytest.mark.parametrize(
    "address", ["dbus://", "json://127.0.0.1/", "mailto://a:b@example.org", "file:///etc/passwd", "x"]
)
def test_a_chat_address_is_no_way_to_anywhere(address: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Chat.clean_address(address)
    with pytest.raises(DeliveryError) as caught:
        Chat().send(message(address))
    assert caught.value.outcome in ("rejected", "definite")


def test_a_missing_runtime_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(DeliveryError, match=r"\./poliscope install apprise") as caught:
        Chat().send(message("ntfy://example.org/topic"))

    assert caught.value.outcome == "definite"


def test_apprise_loads_only_when_it_is_used() -> None:
    code = "import alerts.notifiers.chat, sys; print('apprise' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


@pytest.mark.parametrize(
    ("channel", "typed", "says"),
    [("webhook", "ftp://x", "https://HOST/PATH"), ("apprise", "mailto://x", "chat or push service")],
)
def test_an_address_is_looked_at_when_it_is_typed(channel: str, typed: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        clean_address(channel, typed)


def test_the_secret_of_a_receiver_is_printed(capsys: pytest.CaptureFixture[str], settings: Settings) -> None:
    call_command("webhook_secret", "https://example.org/hook")

    assert capsys.readouterr().out.strip() == secret_for("https://example.org/hook", settings.SECRET_KEY)
    with pytest.raises(CommandError, match="expected https://HOST/PATH"):
        call_command("webhook_secret", "example.org")


# Confirming


@pytest.mark.django_db
def test_whoever_has_the_receiver_confirms_it_by_the_code_that_it_was_sent(
    receiver: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOW = [receiver.pair]
    owner = Recipient.objects.create(name="Control room")
    contact = Contact.objects.create(recipient=owner, channel="webhook", address=f"{receiver.url}/secret-path")
    assert "secret-path" not in contact.address

    assert confirmation.send_code(contact, at(0)).outcome == "sent"

    [posted] = receiver.received
    assert posted.path == "/secret-path"
    assert not contact.usable
    confirmation.confirm(contact, json.loads(posted.content)["text"][:6], at(1))
    contact.refresh_from_db()
    assert contact.usable


@pytest.mark.django_db
def test_another_address_in_its_place_is_not_confirmed_by_the_code_of_the_first(
    receiver: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_ALLOW = [receiver.pair]
    owner = Recipient.objects.create(name="Control room")
    contact = Contact.objects.create(recipient=owner, channel="webhook", address=f"{receiver.url}/one")
    confirmation.send_code(contact, at(0))
    contact.address = f"{receiver.url}/two"
    contact.save()

    with pytest.raises(Refused):
        confirmation.confirm(contact, json.loads(receiver.received[0].content)["text"][:6], at(1))


@pytest.mark.django_db
def test_a_contact_that_becomes_a_number_keeps_nothing_of_its_secret() -> None:
    owner = Recipient.objects.create(name="Control room")
    contact = Contact.objects.create(recipient=owner, channel="webhook", address="https://hooks.example.org/secret")
    contact.channel, contact.address = "sms", "+15005550010"
    contact.save()
    contact.refresh_from_db()

    assert (contact.reach, bytes(contact.sealed)) == ("+15005550010", b"")


@pytest.mark.django_db
def test_the_same_address_twice_is_noticed_before_it_is_saved() -> None:
    owner = Recipient.objects.create(name="Control room")
    given = {"recipient": owner, "channel": "webhook", "address": "https://hooks.example.org/secret"}
    Contact.objects.create(**given)

    with pytest.raises(ValidationError):
        Contact(**given).full_clean()

"""What people read: one segment in English, whole sentences in Chinese, nothing smuggled in, both times when late."""

from __future__ import annotations

import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from django.utils import translation
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from pytest_django import Settings

from alerts import texts
from alerts.delivery import deliver
from alerts.incidents import record
from alerts.models import Alert, Delivery, Event, Incident, Recipient
from alerts.texts import (
    Back,
    clean,
    email,
    fit,
    headline,
    incident_address,
    label_name,
    local_time,
    segments,
    septets,
    sms,
)
from detectors.labels import LABELS
from streams.models import Camera
from tests.alerts.town import EMAIL, NOON, SMS, Town, at
from tests.services.twilio import FakeTwilio

ADDRESS = "https://watch.example.org/incidents/0193f3c0-1111-7222-8333-444455556666/"


# Counting


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("車" * 70, 1),
        ("車" * 71, 2),
        ("車" * 134, 2),
        ("車" * 135, 3),
        ("🚚" * 35, 1),
        ("🚚" * 36, 2),
        ("車" * 66 + "🚚" + "車" * 66, 3),
        ("車" * 67 + "🚚" + "車" * 65, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("a" * 153 + "€" + "a" * 151, 2),
    ],
)
def test_it_counts_segments_as_they_are_paid(text: str, expected: int) -> None:
    assert segments(text) == expected


BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
"""The default alphabet in the order of its codes, without the escape. Source: 3GPP TS 23.038, section 6.2.1."""
EXTENSION = "\f^{}\\[~]|€"
PLAIN, HAN, EMOJI = BASIC + EXTENSION, "車道闖入，。", "🚚👍🚨"


def as_sent(text: str) -> list[str]:
    """``text`` in the parts in which it goes over the air, each as full as it can be."""
    gsm = set(text) <= set(PLAIN)
    room, part = (160, 153) if gsm else (70, 67)

    def size(piece: str) -> int:
        return len(piece) + sum(c in EXTENSION for c in piece) if gsm else len(piece.encode("utf-16-be")) // 2

    if size(text) <= room:
        return [text]
    parts = [""]
    for character in text:
        if size(parts[-1] + character) > part:
            parts.append("")
        parts[-1] += character
    return parts


def test_the_alphabet_is_whole() -> None:
    assert (len(BASIC), len(EXTENSION)) == (127, 10)
    assert septets(BASIC) == 127 and septets(EXTENSION) == 20
    assert all(septets(character) is None for character in HAN + EMOJI + "`“ç\t")


@given(st.one_of(*(st.text(alphabet, max_size=400) for alphabet in (PLAIN, EXTENSION, PLAIN + HAN, HAN + EMOJI))))
def test_it_counts_the_parts_that_go_over_the_air(text: str) -> None:
    assert segments(text) == len(as_sent(text))


@given(st.text(PLAIN, max_size=400))
def test_what_can_be_said_in_gsm_is_one_segment(text: str) -> None:
    whole = fit(clean(text), ADDRESS)

    assert len(as_sent(whole)) == 1
    assert whole.endswith(f" {ADDRESS}")


@given(st.text(HAN + EMOJI, max_size=200))
def test_chinese_is_cut_between_characters_and_never_within_one(text: str) -> None:
    whole = fit(text, ADDRESS)

    assert len(as_sent(whole)) <= 2
    said = whole.removesuffix(f" {ADDRESS}").removesuffix("…")
    assert text.startswith(said) and "\ufffd" not in whole.encode("utf-16").decode("utf-16")


@given(st.text(max_size=300))
def test_it_fits_anything_and_never_cuts_the_address(text: str) -> None:
    whole = fit(clean(text), ADDRESS)

    assert whole.endswith(ADDRESS)
    assert segments(whole) <= (1 if septets(whole) is not None else 2)


def test_it_writes_plainly_what_would_cost_a_second_segment() -> None:
    assert fit("Person in “Dock lane” – now…", "x") == 'Person in "Dock lane" - now... x'


def test_it_says_when_it_cut() -> None:
    assert "aaa... https" in fit("a" * 200, ADDRESS)
    assert "道… https" in fit("道" * 200, ADDRESS)


@given(st.text())
def test_it_lets_no_control_character_through(text: str) -> None:
    cleaned = clean(text)

    assert cleaned.isprintable()
    assert clean(cleaned) == cleaned


def test_it_shows_the_sites_clock_and_the_date_on_another_day() -> None:
    assert local_time(NOON, "Asia/Taipei", beside=at(60)) == "12:00:00 (Asia/Taipei)"
    assert local_time(NOON, "Asia/Taipei", beside=NOON + timedelta(hours=13)) == "2026-03-01 12:00:00 (Asia/Taipei)"


# Words


@pytest.mark.parametrize("language", ["en", "zh-hant"])
@pytest.mark.parametrize("label", sorted(LABELS))
def test_it_has_a_word_for_every_label(label: str, language: str) -> None:
    with translation.override(language):
        word = label_name(label)

    assert word
    assert "-" not in word
    assert language == "en" or any("\u4e00" <= character <= "\u9fff" for character in word)


def _alert(town: Town, reason: str = "opened", *, language: str = "en", late_s: float = 1, **changes: object) -> Alert:
    town.person("Alice", EMAIL, SMS, language=language)
    record([town.event(**changes)], now=at(late_s))
    Alert.objects.update(reason=reason)
    return Alert.objects.select_related("incident__site", "incident__camera", "incident__rule", "recipient").get()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("reason", "begins"),
    [
        ("opened", 'High: Person in "Dock lane", 12:00:00 (Asia/Taipei). Gate, Harbour'),
        ("reminder", 'Still unacknowledged: Person in "Dock lane", 12:00:00 (Asia/Taipei). Gate, Harbour'),
        ("worse", 'Now High: Person in "Dock lane", 12:00:00 (Asia/Taipei). Gate, Harbour'),
    ],
)
def test_it_says_it_in_one_english_segment(town: Town, reason: str, begins: str) -> None:
    alert = _alert(town, reason)

    text = sms(alert, at(5)).text

    assert text.startswith(begins)
    assert incident_address(alert.incident) in text
    assert segments(text) == 1


@pytest.mark.django_db
def test_it_says_both_times_when_it_is_late(town: Town) -> None:
    alert = _alert(town, "late", late_s=3600)

    text = sms(alert, at(3601)).text
    assert text.startswith('Known late: Person in "Dock lane", 12:00:00, known 13:00:00 (Asia/Taipei). Gate')
    words = email(alert, None, at(3601), picture=False)
    assert "Happened: 2026-03-01 12:00:00 (Asia/Taipei)" in words.text
    assert "Known only at: 2026-03-01 13:00:00 (Asia/Taipei)" in words.text


@pytest.mark.django_db
@pytest.mark.parametrize("reason", ["worse", "reminder", "grown", "spread"])
def test_it_says_both_times_of_what_was_known_late_whatever_is_said_of_it(town: Town, reason: str) -> None:
    alert = _alert(town, reason, late_s=3600, severity="critical")

    short = sms(alert, at(3700), Back("https://watch.example.org/a/" + "A" * 28, "47")).text
    assert "12:00:00, known 13:00:00" in short and segments(short) == 1
    assert "12:00:00, known 13:00:00 (Asia/Taipei)" in texts.chat(alert, at(3700)).text


@pytest.mark.django_db
def test_what_gets_critical_though_it_is_long_past_comes_by_sms_with_both_times(
    town: Town, twilio: FakeTwilio, settings: Settings
) -> None:
    settings.TWILIO = twilio.settings
    town.person("Alice", SMS)
    record([town.event(happened_at=at(0), severity="medium", frame=None)], now=at(3600))
    record([town.event(happened_at=at(60), severity="critical", frame=None)], now=at(3601))
    [row] = Delivery.objects.all()

    assert deliver(row.uid, clock=lambda: at(3602)) == "sent"
    assert twilio.messages[0].body.startswith(
        'Now Critical: Person in "Dock lane", 12:00:00, known 13:00:00 (Asia/Taipei). Gate'
    )


@pytest.mark.django_db
def test_it_names_what_there_is_no_sentence_for(town: Town) -> None:
    incident = _alert(town, label="fire-hydrant").incident
    assert headline(incident) == "Fire hydrant in “Dock lane”"
    incident.label = ""
    assert headline(incident) == "Something in “Dock lane”"
    incident.zone_name = ""
    assert headline(incident) == "Something in “Gate”"


@pytest.mark.django_db
def test_it_explains_itself_in_the_email(town: Town) -> None:
    alert = _alert(town)
    words = email(alert, Event.objects.get(), at(5), picture=True)

    assert words.subject == "High: Person in “Dock lane”, Gate"
    assert "- Confidence: 0.87, at least 0.45 needed" in words.text
    assert "- In the zone for: 2.4 s, at least 2.0 s needed" in words.text
    assert "1. Look.\n2. Call the guard." in words.text
    assert incident_address(alert.incident) in words.text
    assert 'src="cid:picture"' in words.html
    assert "\n\n\n" not in words.text


class Coloured(HTMLParser):
    """Collects the classes of whatever a message colours, "" where it has none."""

    def __init__(self) -> None:
        super().__init__()
        self.classes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if re.search(r"(^|;)(color|background):", given.get("style") or ""):
            self.classes.append(given.get("class") or "")


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``. Source: WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.django_db
def test_everything_an_email_colours_can_be_read_in_the_dark(town: Town) -> None:
    html = email(_alert(town), Event.objects.get(), at(5), picture=True).html
    [dark] = re.findall(r"prefers-color-scheme:dark\)\{(.*)\}", html)
    rules = {name: dict(re.findall(r"(color|background):(#\w+)!important", rule)) for name, rule in
             re.findall(r"\.(\w+)\{([^}]*)\}", dark)}  # fmt: skip
    coloured = Coloured()
    coloured.feed(html)

    assert {"ground", "card", "main", "quiet"} <= set(coloured.classes) <= set(rules)
    for name, rule in rules.items():
        text = luminance(rule.get("color", rules["ground"]["color"]))
        back = luminance(rule.get("background", rules["card"]["background"]))
        light, deep = max(text, back), min(text, back)
        assert (light + 0.05) / (deep + 0.05) >= 4.5, name


@pytest.mark.django_db
def test_it_smuggles_nothing_into_a_message(town: Town) -> None:
    town.gate.name = "Gate\r\nBcc: mallory@example.org\r\n<script>alert(1)</script>"
    town.gate.save()
    alert = _alert(town)

    words = email(alert, None, at(5), picture=False)
    assert "\n" not in words.subject and "\r" not in words.subject
    assert "<script>" not in words.html
    assert "\n" not in sms(alert, at(5)).text


@pytest.mark.django_db
def test_a_blank_line_of_a_procedure_is_no_step(town: Town) -> None:
    alert = _alert(town)
    assert alert.incident.rule is not None
    alert.incident.rule.procedure = "Look.\n\n  \n Call. \n"

    words = email(alert, None, at(5), picture=False)
    assert "1. Look." in words.text
    assert "2. Call." in words.text
    assert "3." not in words.text
    assert words.html.count("<li") == 2


@pytest.mark.django_db
def test_it_speaks_the_recipients_language_whatever_the_process_speaks(town: Town) -> None:
    alert = _alert(town, language="zh-hant")

    with translation.override("en"):
        words, short = email(alert, Event.objects.get(), at(5), picture=False), sms(alert, at(5)).text

    assert 'lang="zh-hant"' in words.html
    assert segments(short) <= 2
    with translation.override("zh-hant"):
        assert headline(Incident.objects.get()) in words.subject


@pytest.mark.django_db
# The town stays the same from one example to the next.
@profile(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=st.text(BASIC.replace("\n", "").replace("\r", "") + EXTENSION + HAN, max_size=100),
    reason=st.sampled_from(list(Alert.Reason)),
    late=st.booleans(),
)
def test_a_long_name_leaves_room_for_the_times(town: Town, zone: str, reason: str, late: bool) -> None:
    Incident.objects.all().delete()
    Recipient.objects.all().delete()
    alert = _alert(town, reason, late_s=3600 if late else 1)
    alert.incident.zone_name = zone
    link = f"https://watch.example.org/a/{'A' * 28}"

    text = sms(alert, at(3700), Back(link, "47")).text

    assert segments(text) <= (1 if septets(text) is not None else 2)
    assert text.endswith(link)
    assert "12:00:00" in text
    assert not late or reason == "again" or "13:00:00" in text
    assert "12:00:00" in texts.digest([alert, alert], at(3700), short=True).text


@pytest.mark.django_db
def test_one_chinese_character_in_a_name_costs_no_english_message_its_times(town: Town) -> None:
    alert = _alert(town, Alert.Reason.REMINDER, late_s=3600)
    alert.incident.zone_name = "。"

    text = sms(alert, at(3700), Back(f"https://watch.example.org/a/{'A' * 28}", "47")).text

    assert ", 12:00:00, known 13:00:00 (Asia/Taipei)" in text and "Person in" in text
    assert septets(text) is not None and segments(text) == 1


def test_it_has_words_for_every_reason() -> None:
    assert set(texts._SHORT) == set(texts._SUBJECTS) == set(Alert.Reason)


@pytest.mark.parametrize(("language", "most"), [("en", 1), ("zh-hant", 2)])
@pytest.mark.parametrize("reason", list(Alert.Reason))
def test_an_sms_with_both_ways_back_fits_and_keeps_them_whole(
    town: Town, settings: Settings, language: str, most: int, reason: str
) -> None:
    settings.PUBLIC_URL = "https://watch.harbour-city.example.org"
    Camera.objects.filter(pk=town.gate.pk).update(
        name="A camera with a rather long name at the far end of the eastern quay"
    )
    town.person("Alice", SMS, language=language)
    record([town.event(frame=None)], now=at(0))
    alert = Alert.objects.select_related("incident__camera", "incident__site", "recipient").get()
    alert.reason = reason
    link = f"{settings.PUBLIC_URL}/a/{'A' * 28}"

    text = sms(alert, at(1), Back(link, "47")).text

    assert segments(text) <= most
    assert text.endswith(link) and "47" in text
    assert "Alice" not in text

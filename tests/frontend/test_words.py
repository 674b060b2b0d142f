"""Names, lists and times as the reader's language writes them."""

from __future__ import annotations

import pytest
from django.utils import translation

from alerts import texts
from frontend.change_words import clock_word, schedule_word
from frontend.models import User


@pytest.mark.parametrize(
    ("given", "family", "said"),
    [("Ada", "Lin", "Ada Lin"), ("愛達", "林", "林愛達"), ("愛達", "", "愛達"), ("Ada", "林", "Ada 林")],
)
def test_a_chinese_name_has_the_familys_first_and_no_space(given: str, family: str, said: str) -> None:
    assert User(first_name=given, last_name=family).get_full_name() == said


@pytest.mark.parametrize(
    ("stored", "english", "chinese"),
    [
        ("22:00", "22:00", "22:00"),
        ("sunset", "sunset", "日落"),
        ("sunrise-00:30", "0:30 before sunrise", "日出前 0:30"),
        ("sunset+01:15", "1:15 after sunset", "日落後 1:15"),
    ],
)
def test_a_time_by_the_sun_is_said_in_words(stored: str, english: str, chinese: str) -> None:
    assert clock_word(stored) == english
    with translation.override("zh-hant"):
        assert clock_word(stored) == chinese


def test_days_and_names_stand_one_after_the_other_as_the_language_does() -> None:
    spans = [{"days": [0, 3], "from": "22:00", "until": "sunrise"}]
    assert schedule_word(spans) == "Mon, Thu 22:00–sunrise"
    assert texts.listed(["Alice", "Bob"]) == "Alice, Bob"
    with translation.override("zh-hant"):
        assert schedule_word(spans) == "週一、週四 22:00–日出"
        assert texts.listed(["陳雅莉", "林柏宏"]) == "陳雅莉、林柏宏"

"""Languages, clocks and the Content-Security-Policy of every response."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from frontend.middleware import RoomZone
from frontend.models import User
from streams.models import Site

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def static_folder(settings: LazySettings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STATIC_ROOT.mkdir()


def policy_of(path: str) -> str:
    return Client().get(path).headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/login/", "/", "/no-such-page/", "/incidents/x/"])
def test_every_page_is_under_a_policy_with_nothing_unsafe(path: str) -> None:
    policy = policy_of(path)
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_only_the_administrator_s_pages_may_what_their_toolkit_needs() -> None:
    policy = policy_of("/admin/login/")
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert "script-src 'self' 'unsafe-inline'" not in policy
    assert "unsafe" not in policy_of("/administrator/")


@pytest.mark.parametrize(
    ("accept", "cookie", "language"),
    [
        ("", "", "en"),
        ("zh-TW,zh;q=0.9", "", "zh-hant"),
        ("de", "", "en"),
        ("en", "zh-hant", "zh-hant"),
        ("zh-TW", "en", "en"),
        ("", "klingon", "en"),
    ],
)
def test_before_log_in_the_cookie_decides_and_then_the_browser(accept: str, cookie: str, language: str) -> None:
    client = Client(headers={"accept-language": accept})
    if cookie:
        client.cookies["django_language"] = cookie
    assert client.get("/login/").headers["Content-Language"] == language


def test_after_log_in_the_person_decides() -> None:
    person = User.objects.create_user("mei", password="x", language="zh-hant")
    client = Client(headers={"accept-language": "en"})
    client.force_login(person)
    response = client.get("/nowhere/")
    assert response.headers["Content-Language"] == "zh-hant"
    assert "這裡沒有內容" in response.content.decode()


def test_one_request_s_language_does_not_reach_the_next() -> None:
    Client(headers={"accept-language": "zh-TW"}).get("/login/")
    assert Client().get("/login/").headers["Content-Language"] == "en"


@pytest.mark.parametrize(
    ("sites", "own", "zone"),
    [
        ([], "UTC", "UTC"),
        (["Asia/Taipei"], "UTC", "Asia/Taipei"),
        (["Asia/Taipei", "Asia/Taipei"], "UTC", "Asia/Taipei"),
        (["Asia/Taipei", "Europe/Berlin"], "UTC", "UTC"),
        (["Asia/Taipei"], "Europe/Berlin", "Europe/Berlin"),
    ],
)
def test_the_room_s_zone(sites: list[str], own: str, zone: str) -> None:
    for number, name in enumerate(sites):
        Site.objects.create(name=f"Site {number}", time_zone=name)
    assert RoomZone().of(own).key == zone

"""Who may send a large body, and where: an administrator, to the page for models, and nobody else anywhere."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.conf import settings as project
from django.test import Client

from frontend.models import User
from monitor.uploads import upload_limit
from tests.monitor.test_bodies import port, status_line

__all__ = ["port"]

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/detectors/model/add/"


def cookie_of(role: str, **columns: Any) -> str:
    client = Client()
    client.force_login(User.objects.create_user(f"{role}-{columns}", role=role))
    User.objects.update(**columns) if columns else None
    return f"other=1; {project.SESSION_COOKIE_NAME}={client.cookies[project.SESSION_COOKIE_NAME].value}"


def limit(cookie: str, path: str = PAGE, method: str = "POST") -> int:
    headers = [(b"cookie", cookie.encode())] if cookie else []
    return asyncio.run(upload_limit({"type": "http", "path": path, "method": method, "headers": headers}))


def test_an_administrator_may_hand_in_a_model_there_and_only_there() -> None:
    ada = cookie_of("administrator")
    assert limit(ada) == project.MODEL_MAX_BYTES + project.REQUEST_MAX_BYTES
    for path in ("/login/", "/admin/detectors/model/", f"{PAGE}x", "/admin/detectors/candidate/add/", f"/x{PAGE}"):
        assert limit(ada, path) == 0
    assert limit(ada, method="GET") == 0


@pytest.mark.parametrize("role", ["supervisor", "operator", "observer"])
def test_nobody_else_may(role: str) -> None:
    assert limit(cookie_of(role)) == 0


def test_neither_a_stranger_nor_one_who_was_let_go() -> None:
    assert limit("") == limit(f"{project.SESSION_COOKIE_NAME}=made-up") == 0
    assert limit(cookie_of("administrator", is_active=False)) == 0


def test_it_is_refused_before_the_disk_fills(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path

    class Usage(NamedTuple):
        free: int = 3_000_000

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    assert limit(cookie_of("administrator")) == 1_000_000


def test_through_the_real_server(port: int) -> None:
    length = 3_000_000
    head = f"POST {PAGE} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
    assert b" 413 " in status_line(port, f"{head}\r\n".encode())
    operator = f"{head}Cookie: {cookie_of('operator')}\r\n\r\n"
    assert b" 413 " in status_line(port, operator.encode())
    administrator = f"{head}Cookie: {cookie_of('administrator')}\r\n\r\n".encode()
    # The body is read, and then refused for want of the form's token.
    assert b" 403 " in status_line(port, administrator + bytes(length))

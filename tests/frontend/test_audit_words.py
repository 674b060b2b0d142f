"""What an audit entry says to administrators."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from frontend.audit_words import ACTIONS
from frontend.models import ViewAudit
from monitor.instance import BASE_DIR
from tests.town import build_town

WRITERS = {"write_down": 1, "audit": 1, "_audit": 1, "_act": 2, "picture_of": 2}
"""Where each takes the code of what was done."""


def written(path: Path) -> Iterator[str]:
    """The codes that a file writes, either branch of a choice included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", "")
        audited = "ViewAudit" in ast.unparse(node.func)
        given = [keyword.value for keyword in node.keywords if audited and keyword.arg == "action"]
        if name in WRITERS and len(node.args) > WRITERS[name]:
            given.append(node.args[WRITERS[name]])
        for value in given:
            parts = (value.body, value.orelse) if isinstance(value, ast.IfExp) else (value,)
            yield from (part.value for part in parts if isinstance(part, ast.Constant))


def test_every_action_that_is_written_down_has_words_and_no_other_has() -> None:
    assert {code for path in (BASE_DIR / "frontend").rglob("*.py") for code in written(path)} == ACTIONS.keys()


@pytest.mark.django_db
def test_the_administrators_page_says_actions_in_words(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path  # WhiteNoise warns of a missing one
    town, browser = build_town(), Client()
    browser.force_login(town.ada)
    for action in ("rule-back", "a-code-of-old"):
        row = ViewAudit.objects.create(user=town.ada, action=action)
    address = reverse("admin:frontend_viewaudit_changelist")
    shown = browser.get(address).content.decode()
    assert "went back to an earlier rule" in shown and ">rule-back<" not in shown
    filtered = browser.get(address, {"action": "a-code-of-old"})
    assert [one.pk for one in filtered.context["cl"].result_list] == [row.pk]
    one = browser.get(reverse("admin:frontend_viewaudit_change", args=[row.pk])).content.decode()
    assert "a-code-of-old" in one

"""What every page of the room needs: the person, the strip, the theme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from frontend import health_tail, queries
from frontend.models import User
from frontend.permissions import may_act, may_configure

THEMES = ("dark", "light")


def theme_of(request: HttpRequest) -> str:
    """The theme this browser chose; dark unless it did."""
    theme = request.COOKIES.get("theme", "")
    return theme if theme in THEMES else THEMES[0]


def person_of(request: HttpRequest) -> User:
    """The person behind a request that ``login_required`` let through."""
    if not isinstance(request.user, User):
        raise TypeError("page: expected a logged-in person; put login_required above the view")
    return request.user


def read_strip(user: User) -> queries.Strip:
    """The health strip as it stands now."""
    now = timezone.now()
    return queries.strip(user, health_tail.parts(now), health_tail.starting(now))


def page(request: HttpRequest, template: str, current: str, context: Mapping[str, Any]) -> HttpResponse:
    """A whole page with strip and rail; ``current`` names its place in the rail."""
    user = person_of(request)
    common = {
        "current": current,
        "person_now": user,
        "strip": read_strip(user),
        "theme": theme_of(request),
        "may_act": may_act(user),
        "may_configure": may_configure(user),
    }
    return never_stored(render(request, template, {**common, **context}))


def fragment(request: HttpRequest, template: str, context: Mapping[str, Any]) -> HttpResponse:
    """A part of a page, for the browser to put in its place."""
    user = person_of(request)
    return never_stored(
        render(request, template, {"person_now": user, "may_act": may_act(user), **context, "is_fragment": True})
    )


def never_stored(response: HttpResponse) -> HttpResponse:
    """Kept by nobody: what it says is old within seconds, and not for the next person at this browser."""
    response.headers["Cache-Control"] = "no-store, private"
    return response

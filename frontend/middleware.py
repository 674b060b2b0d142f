"""Each request in its person's language and clock, each response under a Content-Security-Policy."""

from __future__ import annotations

import time
from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.conf import settings
from django.contrib.auth.middleware import get_user
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

from streams.models import Site

GetResponse = Callable[[HttpRequest], HttpResponse]

STRICT = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
# django-unfold's Alpine evaluates strings and sets styles inline. These pages show no camera's text unescaped.
ADMIN = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
SITE_ZONE_S = 30.0
"""How long the sites' common time zone is remembered: it is asked for with every request and changes once a year."""


class RoomZone:
    """The time zone of the room: the person's own; for one who never chose, the one that all sites share, else UTC."""

    def __init__(self) -> None:
        self._sites = "UTC"
        self._asked_at = float("-inf")

    def of(self, time_zone: str) -> ZoneInfo:
        """The zone for a person whose own setting is ``time_zone``."""
        return ZoneInfo(time_zone if time_zone != "UTC" else self._common())

    def forget(self) -> None:
        """Ask again next time."""
        self._asked_at = float("-inf")

    def _common(self) -> str:
        if time.monotonic() - self._asked_at > SITE_ZONE_S:
            zones = set(Site.objects.values_list("time_zone", flat=True).distinct()[:2])
            self._sites = zones.pop() if len(zones) == 1 else "UTC"
            self._asked_at = time.monotonic()
        return self._sites


room_zone = RoomZone()


def chosen_language(request: HttpRequest) -> str:
    """The person's language; before log-in that of the cookie, else of the browser."""
    user = get_user(request)
    if user.is_authenticated and user.language in dict(settings.LANGUAGES):
        return str(user.language)
    return translation.get_language_from_request(request)


class LanguageOfPerson:
    """Activates the person's language and the room's clock. Stands after sessions and before authentication:
    ``get_user`` keeps its answer on the request, so the person is still fetched once.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = get_user(request)
        language = chosen_language(request)
        request.LANGUAGE_CODE = language
        zone = room_zone.of(user.time_zone) if user.is_authenticated else ZoneInfo("UTC")
        with translation.override(language), timezone.override(zone):
            response = self._get_response(request)
        response.headers.setdefault("Content-Language", language)
        return response


class ContentSecurityPolicy:
    """``default-src 'self'`` and nothing unsafe; only ``/admin/`` is allowed what its toolkit needs."""

    def __init__(self, get_response: GetResponse) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        policy = ADMIN if request.path.startswith("/admin/") else STRICT
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

"""Log-in, log-out, language and theme."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from frontend.models import User
from frontend.views.page import THEMES, theme_of

YEAR_S = 365 * 24 * 3600


class LogIn(LoginView):
    """The door."""

    template_name = "frontend/login.html"
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"theme": theme_of(self.request), "current": "login"}


class LogOut(LogoutView):
    """Out, by POST only."""


def _back(request: HttpRequest) -> HttpResponse:
    """To the page that asked, if it is one of ours."""
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(wanted if safe else "/")


def _remember(response: HttpResponse, name: str, value: str) -> HttpResponse:
    response.set_cookie(
        name, value, max_age=YEAR_S, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE, httponly=True
    )
    return response


@require_POST
def choose_language(request: HttpRequest) -> HttpResponse:
    """Kept with the person, and in this browser for the log-in page."""
    language = request.POST.get("language", "")
    response = _back(request)
    if language not in dict(settings.LANGUAGES):
        return response
    if isinstance(request.user, User):
        User.objects.filter(pk=request.user.pk).update(language=language)
    return _remember(response, settings.LANGUAGE_COOKIE_NAME, language)


@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Kept in this browser: a screen's brightness belongs to its room."""
    theme = request.POST.get("theme", "")
    response = _back(request)
    return _remember(response, "theme", theme) if theme in THEMES else response

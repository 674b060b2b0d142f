"""All configuration as one text: taken away as a file, and brought back with the difference shown first."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from alerts.configuration.bring_in import Outcome, bring_in
from alerts.configuration.export import read_rows
from alerts.configuration.text import write
from frontend.views.page import never_stored, page, person_of
from frontend.views.setup.door import configures, write_down

TEMPLATE = "frontend/setup/configuration.html"


@require_GET
@configures
def show_configuration(request: HttpRequest) -> HttpResponse:
    """The two ways."""
    return _page(request, {})


@require_GET
@configures
def download(request: HttpRequest) -> HttpResponse:
    """The text as a file. Addresses of people to tell are in it, so who took it is written down."""
    write_down(request, "configuration-taken", None)
    response = HttpResponse(write(read_rows(timezone.now())), content_type="application/toml; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="poliscope-{timezone.localdate():%Y-%m-%d}.toml"'
    return never_stored(response)


@require_POST
@configures
def compare(request: HttpRequest) -> HttpResponse:
    """What a text would change. Nothing is changed."""
    text, problem = _text_of(request)
    if problem:
        return _page(request, {"text": text, "problem": problem})
    remove = request.POST.get("remove") == "1"
    outcome = bring_in(text, author=person_of(request), now=timezone.now(), remove=remove, try_only=True)
    return _page(request, _shown(text, outcome, remove))


@require_POST
@configures
def apply(request: HttpRequest) -> HttpResponse:
    """Do it, if it is still what was shown."""
    text, remove = request.POST.get("text", ""), request.POST.get("remove") == "1"
    state = request.POST.get("state", "")
    expected = int(state) if state.isascii() and state.isdecimal() and len(state) < 19 else -1
    outcome = bring_in(text, author=person_of(request), now=timezone.now(), remove=remove, expected=expected)
    if outcome.problems:
        return _page(request, _shown(text, outcome, remove))
    write_down(request, "configuration-brought", None)
    done = len(outcome.having("added")) + len(outcome.having("changed"))
    said = ngettext("Done: %(n)d entry added or changed.", "Done: %(n)d entries added or changed.", done)
    messages.success(request, said % {"n": done})
    return redirect("setup-configuration")


def _text_of(request: HttpRequest) -> tuple[str, str]:
    """The text of the file, or the one that was typed; and what is wrong with it."""
    file = request.FILES.get("file")
    if file is None:
        text = request.POST.get("text", "")
        return text, "" if text.strip() else _("Choose a file, or paste a text.")
    try:
        return file.read().decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return "", _("This file is no text in UTF-8. Save it as UTF-8 and choose it again.")


def _shown(text: str, outcome: Outcome, remove: bool) -> dict[str, Any]:
    return {
        "text": text.replace("\r\n", "\n"),
        "outcome": outcome,
        "remove": remove,
        "added": outcome.having("added"),
        "changed": outcome.having("changed"),
        "missing": [(one, outcome.kept.get((one.kind, one.key), "")) for one in outcome.having("missing")],
        "same": len(outcome.having("same")),
    }


def _page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    return page(request, TEMPLATE, "setup", {**context, "current_setup": "configuration"})

"""The administrator's page of this machine: what ``./poliscope doctor`` finds, with the command that mends it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from frontend.permissions import may_configure
from frontend.views.page import fragment, page
from monitor.findings.finding import Finding, State, filled
from monitor.machine import Look, Progress, doctor_command

_look = Look(doctor_command(Path(settings.DATA_DIR)), os.environ)


@dataclass(frozen=True, slots=True)
class Shown:
    """A finding in the reader's language."""

    code: str
    state: str
    subject: str
    text: str
    advice: str
    remedy: str


def shown(finding: Finding) -> Shown:
    """``finding`` with its sentences translated, then filled: a value is never taken for a sentence."""
    text, advice = (filled(gettext(one), finding.values) if one else "" for one in (finding.text, finding.advice))
    return Shown(finding.code, str(finding.state), gettext(finding.subject), text, advice, finding.remedy)


def _of(state: State, findings: Iterable[Finding]) -> list[Shown]:
    return [shown(finding) for finding in findings if finding.state is state]


def context(now: Progress) -> dict[str, object]:
    """What the page shows of a look."""
    return {
        "progress": now,
        "following": gettext(now.following) if now.following else "",
        "wrong": _of(State.WRONG, now.findings),
        "notes": _of(State.NOTE, now.findings),
        "well": _of(State.OK, now.findings),
    }


def _only_who_configures(request: HttpRequest) -> None:
    """Raises ``Http404`` for everybody else: they need not know that there is such a page."""
    if not may_configure(request.user):
        raise Http404


@require_GET
@login_required
def show_machine(request: HttpRequest) -> HttpResponse:
    """The findings, and a look if there is no fresh one. With ``part=findings`` only how far it is."""
    _only_who_configures(request)
    if request.GET.get("part") == "findings":
        return fragment(request, "monitor/_findings.html", context(_look.progress))
    _look.begin()
    return page(request, "monitor/machine.html", "setup", {**context(_look.progress), "current_setup": "machine"})


@require_POST
@login_required
def look_again(request: HttpRequest) -> HttpResponse:
    """Look now, however fresh the last look is."""
    _only_who_configures(request)
    _look.begin(again=True)
    return HttpResponseRedirect(reverse("machine"))

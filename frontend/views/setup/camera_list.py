"""Many cameras at once: pasted from a spreadsheet, what will happen shown first, then done in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from frontend.setup_forms import CameraForm, address_problem
from frontend.views.page import fragment, never_stored, page
from frontend.views.setup.door import configures, refuse, write_down
from streams import camera_list
from streams.camera_plan import Defaults, Existing, Plan, Step, plan
from streams.cameras import CameraDraft, save_camera
from streams.credentials import unseal
from streams.models import Camera, CameraGroup, Site, Source

AT_ONCE = 16
"""Name servers asked at a time: 500 names must not take 500 times as long as one."""


@require_GET
@configures
def show_list(request: HttpRequest) -> HttpResponse:
    """The place to paste it."""
    context = {"form": CameraForm(), "current_setup": "list"}
    return page(request, "frontend/setup/camera_list.html", "setup", context)


@require_POST
@configures
def preview(request: HttpRequest) -> HttpResponse:
    """What the list would do. Nothing of it comes back but names, and nothing is written."""
    planned = _planned(request.POST)
    refused = _addresses_refused(planned)
    rows = [(step, _refusal(step, refused)) for step in planned.steps]
    counted = Counter(step.kind for step, why in rows if not why)
    context = {"plan": planned, "rows": rows, "counted": counted, "refused": sum(bool(why) for _step, why in rows)}
    return fragment(request, "frontend/setup/_camera_list.html", context)


@require_POST
@configures
def apply(request: HttpRequest) -> HttpResponse:
    """Do it: every line that is not refused, all or none. Answers with the address to go on to."""
    planned = _planned(request.POST)
    refused = _addresses_refused(planned)
    steps = [step for step in planned.steps if step.kind in ("new", "change") and not _refusal(step, refused)]
    if not steps:
        return refuse(_("There is nothing to do in this list."))
    with transaction.atomic():
        places = _Places(planned, request.POST.getlist("people"))
        for step in steps:
            camera = _save(step, places)
            write_down(request, "camera-added" if step.kind == "new" else "camera-changed", camera)
    return never_stored(JsonResponse({"address": reverse("setup")}))


def _planned(posted: Any) -> Plan:
    """What ``posted`` would do to the cameras that are there."""
    sites = dict(Site.objects.values_list("name", "time_zone"))
    groups = list(CameraGroup.objects.values_list("name", flat=True))
    defaults = Defaults(
        site=posted.get("site_name", "").strip() or (next(iter(sites)) if len(sites) == 1 else ""),
        group=posted.get("group_name", "").strip() or (groups[0] if len(groups) == 1 else ""),
        time_zone=posted.get("time_zone", "") or "UTC",
    )
    return plan(camera_list.read(posted.get("list", "")), _existing(), sites=sites, groups=groups, defaults=defaults)


def _existing() -> list[Existing]:
    cameras = Camera.objects.select_related("site", "group").prefetch_related("sources")
    return [
        Existing(
            name=camera.name,
            site=camera.site.name,
            group=camera.group.name,
            addresses={source.role: source.address for source in camera.sources.all()},
            logins={source.role: unseal(source.credentials) or ("", "") for source in camera.sources.all()},
            enabled=camera.enabled,
        )
        for camera in cameras
    ]


def _addresses_refused(planned: Plan) -> Mapping[str, str]:
    """Why an address of the list cannot be a camera's, by address. Asks name servers, outside any transaction."""
    kept = set(Source.objects.values_list("address", flat=True))
    fresh = {address for step in planned.steps for address in step.addresses.values()} - kept
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        found = dict(zip(fresh, pool.map(_problem, fresh), strict=True))
    return {address: problem for address, problem in found.items() if problem}


def _problem(address: str) -> str:
    return address_problem(address)


def _refusal(step: Step, refused: Mapping[str, str]) -> str:
    """Why nothing is done with this line; empty when something is."""
    if step.problem is not None:
        return step.problem.sentence(_)
    return next((refused[address] for address in step.addresses.values() if address in refused), "")


class _Places:
    """Sites and groups by name, made where the list has new ones. ``people``: who may see the new groups' cameras."""

    def __init__(self, planned: Plan, people: list[str]) -> None:
        for name, time_zone in planned.sites.items():
            Site.objects.get_or_create(name=name, defaults={"time_zone": time_zone})
        for name in planned.groups:
            group, made = CameraGroup.objects.get_or_create(name=name)
            if made:
                group.people.set([int(key) for key in people if key.isdecimal()])
        self.sites = {site.name: site for site in Site.objects.all()}
        self.groups = {group.name: group for group in CameraGroup.objects.all()}


def _save(step: Step, places: _Places) -> Camera:
    assert step.row is not None
    camera = Camera.objects.filter(site__name=step.site, name=step.row.name).prefetch_related("sources").first()
    kept = {source.role: source.address for source in camera.sources.all()} if camera else {}
    enabled = step.row.enabled if step.row.enabled is not None else (camera.enabled if camera else True)
    draft = CameraDraft(
        name=step.row.name,
        site=places.sites[step.site],
        group=places.groups[step.group],
        addresses={**kept, **step.addresses},
        user=step.row.login[0],
        password=step.row.login[1],
        carrier=camera.carrier if camera else Camera.Carrier.FIXED,
        enabled=enabled,
    )
    return save_camera(draft, camera)

"""Which capture process reads which camera, and what it needs to know for that: the database's side of capture.

A claim is a conditional UPDATE; whoever changes the row holds the camera until the lease expires. The fencing number
grows with every claim and opens every session number, so that what a former holder still writes is older by its number
alone. Expiry compares clocks of several machines: they need NTP, and a few seconds of difference cost nothing but them.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from streams.credentials import unseal
from streams.models import Camera, CameraLease, Demand, Source, View, preferred
from streams.orders import CameraConfig

logger = logging.getLogger(__name__)

LEASE_S = 10.0
RENEW_S = 3.0


def owner_name(pid: int | None = None) -> str:
    """This process's name on its leases: host and process id, so that a neighbour sees when it is gone."""
    return f"{socket.gethostname()}-{os.getpid() if pid is None else pid}"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _gone(owner: str, me: str, runs: Callable[[int], bool]) -> bool:
    """Whether ``owner`` was a process of this host that is no more: its cameras need not wait for the expiry."""
    host, _dash, pid = owner.rpartition("-")
    return owner != me and host == me.rpartition("-")[0] and pid.isdigit() and not runs(int(pid))


def claim(me: str, limit: int, now: datetime, *, runs: Callable[[int], bool] = _runs) -> dict[int, int]:
    """Take up to ``limit`` free cameras; returns the fencing number of each by the camera's id.

    Free: enabled, with an address, and a lease that is given back, expired, or held by a dead process of this
    host. Of two processes that want the same camera at once, one gets it.
    """
    taken: dict[int, int] = {}
    for lease in _leases(wanted=True):
        if len(taken) >= limit:
            break
        if lease.owner == me:
            continue
        free = not lease.owner or lease.expires_at is None or lease.expires_at < now
        if not free and not _gone(lease.owner, me, runs):
            continue
        unchanged = CameraLease.objects.filter(pk=lease.pk, fence=lease.fence, owner=lease.owner)
        if unchanged.update(owner=me, fence=F("fence") + 1, expires_at=now + timedelta(seconds=LEASE_S)):
            taken[lease.camera_id] = lease.fence + 1
    return taken


def _readable() -> QuerySet[Camera]:
    """Enabled cameras with an address, whatever its role: ``preferred`` chooses among several."""
    return Camera.objects.filter(Exists(Source.objects.filter(camera=OuterRef("pk"))), enabled=True)


def any_wanted() -> bool:
    """Whether there is a camera to read at all."""
    return _readable().exists()


def _leases(*, wanted: bool) -> list[CameraLease]:
    cameras = _readable()
    if not wanted:
        return list(CameraLease.objects.exclude(camera__in=cameras))
    for camera in cameras.filter(lease=None):
        CameraLease.objects.get_or_create(camera=camera)
    return list(CameraLease.objects.filter(camera__in=cameras).order_by("camera_id"))


def renew(me: str, now: datetime) -> dict[int, int]:
    """Hold on to every camera of ``me``, giving back those no longer wanted; fencing numbers by camera id.

    A camera that somebody else has claimed meanwhile is missing from the answer: stop reading it.
    """
    unwanted = [lease.pk for lease in _leases(wanted=False) if lease.owner == me]
    if unwanted:
        CameraLease.objects.filter(pk__in=unwanted, owner=me).update(owner="", expires_at=None)
    CameraLease.objects.filter(owner=me).update(expires_at=now + timedelta(seconds=LEASE_S))
    return dict(CameraLease.objects.filter(owner=me).values_list("camera_id", "fence"))


def refence(me: str, cameras: Iterable[int]) -> None:
    """Begin a new range of session numbers: the child that counted them is gone, and so is its count."""
    CameraLease.objects.filter(owner=me, camera_id__in=list(cameras)).update(fence=F("fence") + 1)


def release(me: str) -> None:
    """Give every camera back at once."""
    CameraLease.objects.filter(owner=me).update(owner="", expires_at=None)


def unclaimed(now: datetime) -> int:
    """Enabled cameras that no process reads."""
    held = Q(lease__expires_at__gte=now) & ~Q(lease__owner="")
    return _readable().exclude(held).count()


def configurations(fences: Mapping[int, int]) -> dict[int, CameraConfig]:
    """What a child needs to know of each camera in ``fences`` (fencing number by camera id)."""
    # No transaction, which would hold up SQLite's writers: an edit that comes between is seen again at the next look.
    sources: dict[int, list[Source]] = {}
    found = Source.objects.filter(camera_id__in=list(fences), camera__enabled=True)
    for source in found.select_related("camera"):
        sources.setdefault(source.camera_id, []).append(source)
    demands: dict[int, list[Demand]] = {}
    for demand in Demand.objects.filter(camera_id__in=list(fences)):
        demands.setdefault(demand.camera_id, []).append(demand)
    views: dict[int, View] = {}
    for view in View.objects.filter(camera_id__in=list(fences)).order_by("-pk"):
        views[view.camera_id] = view
    return {
        camera: _configuration(row, views.get(camera), demands.get(camera, []), fences)
        for camera, several in sources.items()
        if (row := preferred(several)) is not None
    }


def _configuration(source: Source, view: View | None, demands: list[Demand], fences: Mapping[int, int]) -> CameraConfig:
    camera = source.camera
    if view is None:
        view, _made = View.objects.get_or_create(camera=camera, name="main")
    user, password = unseal(source.credentials) or ("", "")
    wanted = [demand for demand in demands if demand.hz > 0]
    return CameraConfig(
        uid=camera.uid,
        slot=camera.slot,
        view=view.uid,
        address=source.address,
        fence=fences[camera.pk],
        user=user,
        password=password,
        masks=_polygons(view.masks, camera),
        hz=max((demand.hz for demand in wanted), default=0.0),
        pools=sorted({demand.pool for demand in wanted}),
        gated=camera.gated and not any(demand.every_frame for demand in wanted),
        rests=camera.rests and not any(demand.unbroken for demand in wanted),
        long_px=max([camera.evidence_px, *(demand.width_px for demand in wanted)]),
    )


def _polygons(masks: object, camera: Camera) -> list[list[tuple[float, float]]]:
    """The masks as stored. A malformed one hides the whole picture: none may leave without the mask it should have."""
    try:
        return msgspec.convert(masks, list[list[tuple[float, float]]])
    except msgspec.ValidationError as error:
        logger.error(
            "camera %s: privacy masks: %s; the whole picture is hidden until they are drawn again", camera, error
        )
        return [[(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]]

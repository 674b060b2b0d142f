"""Which of a camera's addresses is read, and that one without a sub-stream is read all the same."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streams import leases
from streams.models import Camera, CameraGroup, CameraLease, Site, Source, preferred

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUB, MAIN, WALL = (f"rtsp://10.0.0.5/{path}" for path in ("sub-640x360", "main-1080p", "wall"))
ADDRESSES = {"detect": SUB, "record": MAIN, "view": WALL}


def make_camera(*roles: str, name: str = "Gate", enabled: bool = True) -> Camera:
    site, _ = Site.objects.get_or_create(name="Harbour")
    group, _ = CameraGroup.objects.get_or_create(name="All")
    camera = Camera.objects.create(name=name, site=site, group=group, enabled=enabled)
    for role in roles:
        Source.objects.create(camera=camera, role=role, address=ADDRESSES[role])
    return camera


@pytest.mark.parametrize(
    ("roles", "address"),
    [
        (("detect",), SUB),
        (("record",), MAIN),
        (("view",), WALL),
        (("record", "detect"), SUB),
        (("view", "record"), MAIN),
        (("view", "record", "detect"), SUB),
    ],
)
def test_the_sub_stream_is_read_where_there_is_one_and_else_what_there_is(roles: tuple[str, ...], address: str) -> None:
    camera = make_camera(*roles)
    assert leases.unclaimed(NOW) == 1
    fences = leases.claim("me", 10, NOW)
    assert fences == {camera.pk: 1}
    assert leases.renew("me", NOW) == fences
    assert leases.unclaimed(NOW) == 0
    assert leases.configurations(fences)[camera.pk].address == address
    assert camera.detect_source is not None
    assert camera.detect_source.address == address


@pytest.mark.parametrize(("roles", "enabled"), [((), True), (("detect", "record"), False)])
def test_a_camera_without_an_address_or_switched_off_is_not_read(roles: tuple[str, ...], enabled: bool) -> None:
    camera = make_camera(*roles, enabled=enabled)
    CameraLease.objects.create(camera=camera, owner="me", fence=3, expires_at=NOW)
    assert leases.unclaimed(NOW) == 0
    assert leases.claim("other", 10, NOW) == {}
    assert leases.renew("me", NOW) == {}
    assert leases.configurations({camera.pk: 3}) == {}


def test_several_addresses_are_one_camera_to_claim() -> None:
    make_camera("detect", "record", "view")
    make_camera("record", "view", name="Quay")
    assert leases.unclaimed(NOW) == 2
    assert len(leases.claim("me", 1, NOW)) == 1
    assert leases.unclaimed(NOW) == 1


def test_a_sub_stream_that_is_added_needs_a_new_connection_and_keeps_everything_else() -> None:
    camera = make_camera("record")
    fences = leases.claim("me", 10, NOW)
    before = leases.configurations(fences)[camera.pk]
    Source.objects.create(camera=camera, role="detect", address=SUB)
    after = leases.configurations(fences)[camera.pk]
    assert (before.address, after.address) == (MAIN, SUB)
    assert before.connection != after.connection
    assert (after.view, after.masks, after.fence) == (before.view, before.masks, before.fence)


def test_a_camera_without_addresses_prefers_none() -> None:
    assert preferred([]) is None
    assert make_camera().detect_source is None

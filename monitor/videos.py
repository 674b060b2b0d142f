"""The user's own films as rows: a camera each, in a site of their own, with a rule that shows what is seen.

A film's camera is known by its address, which names where the file is: the same file is the same camera at the next
start, with its incidents and whatever somebody changed about it.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from django.db import transaction
from django.utils import timezone

from alerts.editing import save_rule, touch
from alerts.models import Rule, Severity, Zone
from detectors.defaults import default_deployment
from frontend.models import User
from monitor.demo import NOBODY, demo_recipients
from streams.models import Camera, CameraGroup, Site, Source, View
from streams.time_zones import time_zones
from streams.video_cameras import Board, Shown

SITE = GROUP = "My videos"
WHOLE_PICTURE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
NAME_MOST = 80
"""Leaves room for the rule's own words before it, and a number behind it."""
ADDRESS = r"^rtsp://127\.0\.0\.1:[0-9]+/(video-[0-9a-f]{12})$"


def read_board(path: Path) -> Board:
    """``videos.json`` as it stands. Raises ``OSError`` or ``msgspec.DecodeError``."""
    return msgspec.json.decode(path.read_bytes(), type=Board)


def seed(board: Board) -> None:
    """A camera for each film that is not refused, on where the film plays; all other films' cameras off.

    One transaction. A camera that its owner switched off stays off, and what was renamed stays so. Raises
    ``alerts.editing.Refused``.
    """
    films = {film.key: film for film in board.films if film.state != "refused"}
    with transaction.atomic():
        known = _sources()
        changed = [_point(source, _port(films.get(key), board.port)) for key, source in known.items()]
        new = [film for key, film in films.items() if key not in known]
        for film in new:
            _build(film, _port(film, board.port))
        if new or any(changed):
            touch()


def retire() -> None:
    """Switch the films' cameras off, where there are any: nobody plays them."""
    seed(Board(NOBODY, True, []))


def _port(film: Shown | None, port: int) -> int:
    return port if film is not None and film.state == "ready" else NOBODY


def _address(key: str, port: int) -> str:
    return f"rtsp://127.0.0.1:{port}/{key}"


def _sources() -> dict[str, Source]:
    found = Source.objects.filter(role=Source.Role.DETECT, address__regex=ADDRESS).select_related("camera")
    return {source.address.rpartition("/")[2]: source for source in found}


def _point(source: Source, port: int) -> bool:
    """Whether something had to be changed. Only what we switched off ourselves is switched on again."""
    address = _address(source.address.rpartition("/")[2], port)
    if address == source.address:
        return False
    camera = Camera.objects.filter(pk=source.camera_id)
    if source.address.startswith(_address("", NOBODY)):
        camera.update(enabled=True)
    elif port == NOBODY:
        if not source.camera.enabled:
            return False
        camera.update(enabled=False)
    Source.objects.filter(pk=source.pk).update(address=address)
    return True


def _build(film: Shown, port: int) -> None:
    site, _made = Site.objects.get_or_create(name=SITE, defaults={"time_zone": local_time_zone()})
    name = _free_name(site, camera_name(Path(film.path)))
    # Not gated: whoever shows a film wants to see what is found in it, whether it moves or stands still.
    camera = Camera.objects.create(name=name, site=site, group=_group(), enabled=port != NOBODY, gated=False)
    Source.objects.create(camera=camera, role=Source.Role.DETECT, address=_address(film.key, port))
    zone = Zone.objects.create(view=View.objects.create(camera=camera), name="Whole picture", points=WHOLE_PICTURE)
    rule = Rule(
        name=_free_rule_name(f"Person seen, {name}"),
        kind="presence",
        severity=Severity.MEDIUM,
        deployment=default_deployment(),
        # Somebody who sits still in a film is seen too.
        config={"min_travel": 0.0},
        why_it_matters="This rule came with the film: it shows what is seen. Change it as you like.",
    )
    save_rule(rule, zones=[zone], author=None, now=timezone.now())
    rule.recipients.set(demo_recipients())


def _group() -> CameraGroup:
    """The films' group; whoever operates here when it is made may see it."""
    group, made = CameraGroup.objects.get_or_create(name=GROUP)
    if made:
        for user in User.objects.filter(role__in=(User.Role.OPERATOR, User.Role.SUPERVISOR), is_active=True):
            user.camera_groups.add(group)
    return group


def camera_name(path: Path) -> str:
    """A name for people from a file's: no control characters, no strange blanks, not too long.

    >>> camera_name(Path("/films/north  gate\\x1b[31m.mp4"))
    'north gate [31m'
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in path.stem)
    return re.sub(r"\s+", " ", printable).strip()[:NAME_MOST].strip() or "Video"


def _free_name(site: Site, name: str) -> str:
    taken = set(Camera.objects.filter(site=site).values_list("name", flat=True))
    return _numbered(name, taken)


def _free_rule_name(name: str) -> str:
    return _numbered(name, set(Rule.objects.values_list("name", flat=True)))


def _numbered(name: str, taken: set[str]) -> str:
    """``name``, or ``name (2)`` and so on where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free


def local_time_zone(link: Path = Path("/etc/localtime")) -> str:
    """The IANA name of this machine's time zone; UTC where the machine does not say."""
    name = str(link.resolve()).partition("zoneinfo/")[2]
    return name if name in time_zones() else "UTC"

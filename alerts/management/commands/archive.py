"""``manage.py archive size | list | prune``: what the archive holds, by camera, and what is too old or too much."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone
from django.utils.translation import gettext as _

from alerts.archive_files import Folder
from alerts.archive_upkeep import by_camera, prune, size
from streams.models import Camera


class Command(BaseCommand):
    help = "The archive of what the rules consumed: its size, its cameras, and what is to go."

    def add_arguments(self, parser: ArgumentParser) -> None:
        kept = settings.ARCHIVE
        parser.add_argument("action", choices=["size", "list", "prune"])
        parser.add_argument("--days", type=float, default=kept["days"], help="prune: keep so many days")
        parser.add_argument("--gb", type=float, default=kept["bytes"] / 1e9, help="prune: keep at most so much")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = Folder(settings.ARCHIVE["folder"])
        if options["action"] == "size":
            self._size(folder)
        elif options["action"] == "list":
            self._list(folder)
        else:
            self._prune(folder, options["days"], int(options["gb"] * 1e9))

    def _size(self, folder: Folder) -> None:
        held = size(folder)
        self.stdout.write(
            _("%(mb).1f MB in %(files)d files, from %(oldest)s to %(newest)s (UTC hours)")
            % {
                "mb": held.bytes / 1e6,
                "files": held.files,
                "oldest": held.oldest_hour or "–",
                "newest": held.newest_hour or "–",
            }
        )

    def _list(self, folder: Folder) -> None:
        names = dict(Camera.objects.values_list("uid", "name"))
        for name, (length, hours) in by_camera(folder).items():
            camera = names.get(UUID(name), name) if _is_uid(name) else name
            self.stdout.write(f"{camera:40} {length / 1e6:10.1f} MB {hours:6} h")

    def _prune(self, folder: Folder, days: float, most_bytes: int) -> None:
        files, length = prune(folder, timezone.now(), days=days, most_bytes=most_bytes)
        self.stdout.write(_("%(files)d files went, %(mb).1f MB") % {"files": files, "mb": length / 1e6})


def _is_uid(name: str) -> bool:
    try:
        UUID(name)
    except ValueError:
        return False
    return True

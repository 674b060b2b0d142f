"""The one page that takes a large body: a model that an administrator hands in. Everybody else's stays small."""

from __future__ import annotations

import shutil
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.core.files.uploadhandler import FileUploadHandler, SkipFile
from django.http import HttpRequest
from django.http.cookie import parse_cookie
from django.urls import reverse

from monitor.bodies import Scope

COPIES = 2
"""Of an upload on the disk at the worst moment: the body, and the file that is read out of it."""


async def upload_limit(scope: Scope) -> int:
    """How many bytes this request may have: 0, which means the ordinary limit, for all but the page for models.

    There for a logged-in administrator: one model and the form around it, as long as the disk has room.
    """
    if scope["method"] != "POST" or scope["path"] != reverse("admin:detectors_model_add"):
        return 0
    if not await database_sync_to_async(_is_administrator)(scope):
        return 0
    room: int = shutil.disk_usage(settings.DATA_DIR).free // (COPIES + 1)
    return min(settings.MODEL_MAX_BYTES + settings.REQUEST_MAX_BYTES, room)


def _is_administrator(scope: Scope) -> bool:
    cookies = b"; ".join(value for name, value in scope["headers"] if name.lower() == b"cookie")
    request = HttpRequest()
    request.session = SessionStore(parse_cookie(cookies.decode("latin-1")).get(settings.SESSION_COOKIE_NAME))
    user = get_user(request)
    return bool(user.is_active and getattr(user, "is_staff", False))


class CappedUpload(FileUploadHandler):
    """Lets no file through that is larger than a model may be; it then counts as not sent."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._got = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        self._got += len(raw_data)
        if self._got > settings.MODEL_MAX_BYTES:
            raise SkipFile
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """Storing it is the next handlers' part."""

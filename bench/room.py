"""Somebody in the control room: acknowledges each incident once its messages have been out for a while.

``python -m bench.room SECONDS``, in an installation's environment. What is still doubtful is left alone, so that a
message that may have been lost is really repeated.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor.settings")
django.setup()

from django.db import Error as DatabaseError  # noqa: E402
from django.utils import timezone  # noqa: E402

from alerts import incidents  # noqa: E402
from alerts.models import Delivery, Incident  # noqa: E402

AT_ONCE = 40
State = Delivery.State


def acknowledge_settled(after_s: float) -> None:
    """Acknowledge what was opened ``after_s`` ago and of which every message has left."""
    moving = Delivery.objects.filter(state__in=(State.QUEUED, State.SENDING))
    doubtful = Delivery.objects.filter(state=State.UNKNOWN, resends__isnull=True, resent_as__isnull=True)
    opened = Incident.objects.filter(
        state=Incident.State.OPEN, opened_at__lte=timezone.now() - timedelta(seconds=after_s)
    )
    for rows in (moving, doubtful):
        opened = opened.exclude(pk__in=rows.values("alert__incident"))
    for uid in list(opened.values_list("uid", flat=True)[:AT_ONCE]):
        incidents.acknowledge(uid, by=None, through="screen", now=timezone.now())


def main(after_s: float) -> None:
    """Until killed."""
    while True:
        with contextlib.suppress(DatabaseError):
            acknowledge_settled(after_s)
        time.sleep(1.0)


if __name__ == "__main__":
    main(float(sys.argv[1]))

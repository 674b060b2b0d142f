"""The Celery application: ``celery -A monitor worker``."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor.settings")

app = Celery("poliscope")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["alerts", "detectors"])

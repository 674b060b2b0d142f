"""The Django project: settings, addresses, Celery and supervision. Wiring only; nobody imports it."""

from monitor.celery import app as celery_app

__all__ = ("celery_app",)

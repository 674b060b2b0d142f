"""The project as an application, so that its management commands are found."""

from django.apps import AppConfig


class MonitorConfig(AppConfig):
    name = "monitor"

    def ready(self) -> None:
        """Register our own checks (``manage.py check``), and make our Celery the one that tasks are sent by."""
        from monitor import celery, checks  # noqa: F401

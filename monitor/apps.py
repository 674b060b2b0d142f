"""The project as an application, so that its management commands are found."""

from django.apps import AppConfig


class MonitorConfig(AppConfig):
    name = "monitor"

    def ready(self) -> None:
        """Register our own checks: ``manage.py check`` and ``check --deploy``."""
        from monitor import checks  # noqa: F401

"""Django's handle on this package."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AlertsConfig(AppConfig):
    name = "alerts"
    verbose_name = _("Watching")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Edits touch the configuration in every process, not only where the admin is loaded."""
        from alerts import signals  # noqa: F401

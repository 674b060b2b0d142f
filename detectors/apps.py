"""Django's handle on this package."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DetectorsConfig(AppConfig):
    name = "detectors"
    verbose_name = _("Detection")
    default_auto_field = "django.db.models.BigAutoField"

"""Django's handle on this package."""

from django.apps import AppConfig


class DetectorsConfig(AppConfig):
    name = "detectors"
    default_auto_field = "django.db.models.BigAutoField"

"""The project as an application, so that its management commands are found."""

from django.apps import AppConfig


class MonitorConfig(AppConfig):
    name = "monitor"

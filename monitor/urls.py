"""Addresses: the administrator's pages, the API, and the control room."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from frontend.api import api
from monitor import views

# Here and not when Django starts: a process without pages does without the memory of its forms.
admin.autodiscover()

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("setup/machine/", views.show_machine, name="machine"),
    path("setup/machine/again/", views.look_again, name="machine-again"),
    path("", include("frontend.urls")),
]

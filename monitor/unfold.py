"""The administrator's pages in the control room's colours, type and words (``UNFOLD`` of the settings)."""

from __future__ import annotations

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _


def gettext_noop(text: str) -> str:
    """Marks ``text`` for the catalogue. Django's own asks the settings, which are just being read here."""
    return text


def _item(title: Any, icon: str, name: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{name}_changelist")}


_BACK: dict[str, Any] = {
    "title": _("Back to the control room"),
    "icon": "arrow_back",
    "link": reverse_lazy("room"),
    # Every address begins with its "/", so it would always look like the page one is on.
    "active": lambda request: False,
}

_SETUP: dict[str, Any] = {
    "title": _("Set up on screen"),
    "icon": "tune",
    "link": reverse_lazy("setup"),
    "active": lambda request: False,
}

_MACHINE: dict[str, Any] = {
    "title": _("This machine"),
    "icon": "health_metrics",
    "link": reverse_lazy("machine"),
    "active": lambda request: False,
}

THEIR_WORDS = (
    gettext_noop("Add row"),
    gettext_noop("All applications"),
    gettext_noop("Apply Filters"),
    gettext_noop("Choose file to upload"),
    gettext_noop("Clear all filters"),
    gettext_noop("Date from"),
    gettext_noop("Date to"),
    gettext_noop("Expand row"),
    gettext_noop("Filters"),
    gettext_noop("Loading more results..."),
    gettext_noop("More actions"),
    gettext_noop("No data"),
    gettext_noop("No results found"),
    gettext_noop("No results matching your query"),
    gettext_noop("Record picture"),
    gettext_noop("Reset filters"),
    gettext_noop("Select record"),
    gettext_noop("Select value"),
    gettext_noop("This page yielded into no results. Create a new item or reset your filters."),
    gettext_noop("Toggle password visibility"),
    gettext_noop("Toggle sorting"),
    gettext_noop("Type to search"),
)
"""What django-unfold says on these pages and brings no Chinese for: our catalogue has it."""

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Poliscope",
    "SITE_HEADER": "Poliscope",
    "SITE_SUBHEADER": _("Set-up"),
    "SITE_URL": "/",
    "SITE_SYMBOL": "visibility",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("frontend/icon.svg")},
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "STYLES": [lambda request: static("frontend/admin.css")],
    # The tokens' greys and their one accent: blue means "you can act on this", never a severity.
    "COLORS": {
        "base": {
            "50": "#f5f6f8",
            "100": "#eef0f2",
            "200": "#e2e6ea",
            "300": "#cfd5da",
            "400": "#a3acb5",
            "500": "#6b747d",
            "600": "#4d565f",
            "700": "#30363c",
            "800": "#23282d",
            "900": "#1b1f23",
            "950": "#14171a",
        },
        "primary": {
            "50": "#eef5fd",
            "100": "#d9e9fb",
            "200": "#b6d5f7",
            "300": "#8fc2fb",
            "400": "#6cb2ff",
            "500": "#2f86e0",
            "600": "#0b62c4",
            "700": "#0a55aa",
            "800": "#0b478c",
            "900": "#0c3a70",
            "950": "#06233f",
        },
        "font": {
            "subtle-light": "#5c656e",
            "subtle-dark": "#a3acb5",
            "default-light": "#4d565f",
            "default-dark": "#c5ccd2",
            "important-light": "#1a1e22",
            "important-dark": "#e6e9ec",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {"items": [_BACK, _SETUP, _MACHINE]},
            {
                "title": _("Places"),
                "separator": True,
                "items": [
                    _item(_("Sites"), "location_on", "streams_site"),
                    _item(_("Camera groups"), "group_work", "streams_cameragroup"),
                    _item(_("Cameras"), "videocam", "streams_camera"),
                    _item(_("Views"), "crop_free", "streams_view"),
                    _item(_("Zones"), "polyline", "alerts_zone"),
                ],
            },
            {
                "title": _("Watching"),
                "separator": True,
                "items": [
                    _item(_("Rules"), "rule", "alerts_rule"),
                    _item(_("Deployments"), "memory", "detectors_deployment"),
                    _item(_("Models"), "neurology", "detectors_model"),
                ],
            },
            {
                "title": _("People"),
                "separator": True,
                "items": [
                    _item(_("Recipients"), "notifications", "alerts_recipient"),
                    _item(_("Users"), "person", "frontend_user"),
                    _item(_("API tokens"), "key", "frontend_apitoken"),
                ],
            },
            {
                "title": _("Records"),
                "separator": True,
                "items": [
                    _item(_("Rule versions"), "history", "alerts_ruleversion"),
                    _item(_("Events"), "bolt", "alerts_event"),
                    _item(_("Deliveries"), "outgoing_mail", "alerts_delivery"),
                    _item(_("Received messages"), "inbox", "alerts_inboundmessage"),
                    _item(_("Audit"), "policy", "frontend_viewaudit"),
                ],
            },
        ],
    },
}

"""Addresses of the control room."""

from __future__ import annotations

from django.urls import path

from frontend.views import account, incidents, outbox, pictures, room, wall

urlpatterns = [
    path("", room.show_room, name="room"),
    path("room/queue/", room.show_queue, name="queue"),
    path("room/strip/", room.show_strip, name="strip"),
    path("incidents/<uuid:uid>/", incidents.show_incident, name="incident"),
    path("incidents/<uuid:uid>/pane/", incidents.show_pane, name="incident-pane"),
    path("incidents/<uuid:uid>/acknowledge/", incidents.acknowledge_incident, name="acknowledge"),
    path("incidents/<uuid:uid>/resolve/", incidents.resolve_incident, name="resolve"),
    path("incidents/<uuid:uid>/picture.jpg", pictures.event_picture, name="picture"),
    path("incidents/<uuid:uid>/thumbnail.jpg", pictures.event_thumbnail, name="thumbnail"),
    path("wall/", wall.show_wall, name="wall"),
    path("wall/states/", wall.states, name="wall-states"),
    path("outbox/", outbox.show_outbox, name="outbox"),
    path("outbox/<uuid:uid>/message.html", outbox.message_html, name="outbox-html"),
    path("login/", account.LogIn.as_view(), name="login"),
    path("logout/", account.LogOut.as_view(), name="logout"),
    path("language/", account.choose_language, name="language"),
    path("theme/", account.choose_theme, name="theme"),
]

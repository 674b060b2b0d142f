"""Addresses of the sockets."""

from __future__ import annotations

from django.urls import path, re_path

from frontend.consumers import NowhereConsumer, RoomConsumer, WallConsumer

websocket_urlpatterns = [
    path("ws/room/", RoomConsumer.as_asgi()),
    path("ws/wall/", WallConsumer.as_asgi()),
    re_path(r"", NowhereConsumer.as_asgi()),
]

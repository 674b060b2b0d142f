"""Addresses of the sockets."""

from __future__ import annotations

from typing import Any

from django.urls import path, re_path

from frontend.consumers import NowhereConsumer, RoomConsumer, WallConsumer

# Django's ``path`` is typed for views; Channels' router takes ASGI applications in their place.
_room: Any = RoomConsumer.as_asgi()
_wall: Any = WallConsumer.as_asgi()
_nowhere: Any = NowhereConsumer.as_asgi()

websocket_urlpatterns = [path("ws/room/", _room), path("ws/wall/", _wall), re_path(r"", _nowhere)]

"""Addresses of the control room."""

from __future__ import annotations

from django.urls import path

from frontend.views import account, incidents, outbox, pictures, proposals, room, wall
from frontend.views.setup import camera, camera_list, cameras, rules

urlpatterns = [
    path("", room.show_room, name="room"),
    path("room/queue/", room.show_queue, name="queue"),
    path("room/strip/", room.show_strip, name="strip"),
    path("incidents/<uuid:uid>/", incidents.show_incident, name="incident"),
    path("incidents/<uuid:uid>/pane/", incidents.show_pane, name="incident-pane"),
    path("incidents/<uuid:uid>/acknowledge/", incidents.acknowledge_incident, name="acknowledge"),
    path("incidents/<uuid:uid>/resolve/", incidents.resolve_incident, name="resolve"),
    path("incidents/<uuid:uid>/proposal/", proposals.show_proposal, name="proposal"),
    path("incidents/<uuid:uid>/proposal/part/", proposals.show_proposal_part, name="proposal-part"),
    path("incidents/<uuid:uid>/picture.jpg", pictures.event_picture, name="picture"),
    path("incidents/<uuid:uid>/thumbnail.jpg", pictures.event_thumbnail, name="thumbnail"),
    path("wall/", wall.show_wall, name="wall"),
    path("wall/states/", wall.states, name="wall-states"),
    path("outbox/", outbox.show_outbox, name="outbox"),
    path("outbox/<uuid:uid>/message.html", outbox.message_html, name="outbox-html"),
    path("setup/", cameras.show_cameras, name="setup"),
    path("setup/try/", cameras.try_addresses, name="setup-try"),
    path("setup/list/", camera_list.show_list, name="setup-list"),
    path("setup/list/preview/", camera_list.preview, name="setup-list-preview"),
    path("setup/list/apply/", camera_list.apply, name="setup-list-apply"),
    path("setup/cameras/add/", cameras.add_camera, name="setup-add"),
    path("setup/cameras/<uuid:uid>/", camera.show_camera, name="setup-camera"),
    path("setup/cameras/<uuid:uid>/edit/", cameras.edit_camera, name="setup-edit"),
    path("setup/cameras/<uuid:uid>/try/", cameras.try_camera, name="setup-try-camera"),
    path("setup/cameras/<uuid:uid>/switch/", cameras.switch_camera, name="setup-switch"),
    path("setup/cameras/<uuid:uid>/delete/", cameras.delete_camera, name="setup-delete"),
    path("setup/cameras/<uuid:uid>/snapshot.jpg", cameras.snapshot, name="setup-snapshot"),
    path("setup/cameras/<uuid:uid>/zones/", camera.save_zone, name="setup-zone"),
    path("setup/cameras/<uuid:uid>/zones/delete/", camera.delete_zone, name="setup-zone-delete"),
    path("setup/cameras/<uuid:uid>/rules/add/", rules.add_rule, name="setup-rule-add"),
    path("setup/cameras/<uuid:uid>/rules/<uuid:rule>/", rules.edit_rule, name="setup-rule"),
    path("setup/cameras/<uuid:uid>/rules/<uuid:rule>/switch/", rules.switch_rule, name="setup-rule-switch"),
    path("setup/contacts/<uuid:uid>/test/", rules.send_test, name="setup-test"),
    path("login/", account.LogIn.as_view(), name="login"),
    path("logout/", account.LogOut.as_view(), name="logout"),
    path("language/", account.choose_language, name="language"),
    path("theme/", account.choose_theme, name="theme"),
]

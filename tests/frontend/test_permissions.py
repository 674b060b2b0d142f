"""The one door: who sees which camera and incident, and who may act."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser

from frontend.models import User
from frontend.permissions import Person, may_act, may_configure, visible_cameras, visible_incidents
from tests.town import Town, build_town, new_incident

pytestmark = pytest.mark.django_db


@pytest.fixture
def town() -> Town:
    return build_town()


def person(town: Town, name: str) -> Person:
    if name == "nobody":
        return AnonymousUser()
    if name == "none":
        return None
    if name == "inactive ada":
        town.ada.is_active = False
        return town.ada
    found: User = getattr(town, name)
    return found


MATRIX = [
    # who, cameras, acts, configures
    ("alice", {"Gate"}, True, False),
    ("bob", {"Gate"}, True, False),
    ("charlie", {"Yard"}, True, False),
    ("olive", {"Gate"}, False, False),
    ("ada", {"Gate", "Yard"}, True, True),
    ("inactive ada", set(), False, False),
    ("nobody", set(), False, False),
    ("none", set(), False, False),
]


@pytest.mark.parametrize(("who", "cameras", "acts", "configures"), MATRIX)
def test_who_sees_and_may_do_what(town: Town, who: str, cameras: set[str], acts: bool, configures: bool) -> None:
    somebody = person(town, who)
    assert {camera.name for camera in visible_cameras(somebody)} == cameras
    assert (may_act(somebody), may_configure(somebody)) == (acts, configures)


@pytest.mark.parametrize(("who", "cameras", "acts", "configures"), MATRIX)
def test_incidents_go_through_the_same_door(
    town: Town, who: str, cameras: set[str], acts: bool, configures: bool
) -> None:
    for camera in (town.gate, town.yard, None):
        new_incident(camera, town.site)
    seen = visible_incidents(person(town, who))
    assert {incident.camera.name for incident in seen if incident.camera} == cameras
    assert seen.filter(camera=None).exists() == configures


def test_a_camera_in_no_group_of_theirs_stays_hidden_when_it_moves(town: Town) -> None:
    town.gate.group = town.yard.group
    town.gate.save()
    assert not visible_cameras(town.alice).exists()
    assert visible_cameras(town.charlie).count() == 2


def test_two_groups_never_show_a_camera_twice(town: Town) -> None:
    town.alice.camera_groups.add(town.yard.group)
    assert sorted(camera.name for camera in visible_cameras(town.alice)) == ["Gate", "Yard"]


@pytest.mark.parametrize("role", User.Role.values)
def test_djangos_flags_follow_the_role(role: str) -> None:
    user = User.objects.create_user("dora", role=role)
    expected = role == User.Role.ADMINISTRATOR
    assert (user.is_staff, user.is_superuser) == (expected, expected)


def test_who_is_no_longer_administrator_loses_the_pages(town: Town) -> None:
    town.ada.role = User.Role.OPERATOR
    town.ada.save()
    town.ada.refresh_from_db()
    assert not town.ada.is_superuser
    assert not town.ada.is_staff
    assert not visible_cameras(town.ada).exists()


def test_createsuperuser_makes_an_administrator() -> None:
    assert User.objects.create_superuser("root").role == User.Role.ADMINISTRATOR

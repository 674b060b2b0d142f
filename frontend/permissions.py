"""Who sees what and may do what. ``visible_cameras`` is the one door for views, sockets, API and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.signals import pre_save
from django.dispatch import receiver

from alerts.models import Event, Incident
from alerts.muting import Matchers
from frontend.models import User
from streams.models import Camera, Site

Person = AbstractBaseUser | AnonymousUser | None
"""Whoever asks: a request's user, a token's, nobody."""

ACTING_ROLES = frozenset({User.Role.ADMINISTRATOR, User.Role.SUPERVISOR, User.Role.OPERATOR})


def _user(person: Person) -> User | None:
    return person if isinstance(person, User) and person.is_active else None


def sees_everything(person: Person) -> bool:
    """Whether every camera is open to this person: administrators and superusers."""
    user = _user(person)
    return user is not None and (user.is_superuser or user.role == User.Role.ADMINISTRATOR)


def visible_cameras(person: Person) -> QuerySet[Camera]:
    """The cameras this person may see: all for an administrator, else those of the person's camera groups.

    Nobody, a stranger and a deactivated account see none. Whatever is not in here is answered with 404, never 403:
    an outsider must not learn what exists.
    """
    user = _user(person)
    if user is None:
        return Camera.objects.none()
    if sees_everything(user):
        return Camera.objects.all()
    return Camera.objects.filter(group__in=user.camera_groups.all())


def visible_incidents(person: Person) -> QuerySet[Incident]:
    """The incidents that a visible camera has a part in; those without a camera are for whoever sees everything."""
    if sees_everything(person):
        return Incident.objects.all()
    cameras = visible_cameras(person)
    also = Incident.cameras.through.objects.filter(incident=OuterRef("pk"), camera__in=cameras)
    return Incident.objects.filter(Q(camera__in=cameras) | Exists(also))


def without_foreign(person: Person, incidents: Iterable[Incident]) -> list[Incident]:
    """``incidents`` as this person may know them: a shared one names no camera that is not theirs to see."""
    found = list(incidents)
    if not sees_everything(person):
        seen = set(visible_cameras(person).values_list("pk", flat=True))
        for incident in found:
            if incident.camera_id not in seen:
                incident.camera = None
    return found


def visible_events(person: Person) -> QuerySet[Event]:
    """The events of visible cameras, and those of no camera: an incident of a site may hold others' pictures."""
    if sees_everything(person):
        return Event.objects.all()
    return Event.objects.filter(Q(camera__in=visible_cameras(person)) | Q(camera__isnull=True))


def visible_sites(person: Person) -> QuerySet[Site]:
    """The sites of visible cameras; all of them for whoever sees everything."""
    if sees_everything(person):
        return Site.objects.all()
    return Site.objects.filter(cameras__in=visible_cameras(person)).distinct()


def owners_for(incident: Incident) -> list[User]:
    """Who may be given ``incident``: everybody who sees it and may act."""
    cameras = [*incident.cameras.all(), *([incident.camera] if incident.camera else [])]
    groups = {camera.group_id for camera in cameras}
    see = Q(role=User.Role.ADMINISTRATOR) | Q(is_superuser=True) | Q(camera_groups__in=groups)
    people = User.objects.filter(see, is_active=True, role__in=ACTING_ROLES).distinct()
    return list(people.order_by("first_name", "last_name", "username"))


def may_silence(person: Person, matchers: Matchers) -> bool:
    """Whether this person may mute what ``matchers`` mean: acts, and sees every camera that they mean."""
    if sees_everything(person):
        return True
    if not may_act(person):
        return False
    meant = Camera.objects.filter(uid__in=matchers.cameras)
    if not matchers.cameras:
        meant = Camera.objects.filter(site__uid__in=matchers.sites)
        if not matchers.sites:
            return False
    return not meant.exclude(pk__in=visible_cameras(person)).exists()


def concerns(person: Person, matchers: Matchers) -> bool:
    """Whether ``matchers`` mean anything that this person sees: what mutes it must not be hidden from them."""
    if sees_everything(person) or not (matchers.cameras or matchers.sites):
        return True
    cameras = visible_cameras(person)
    if matchers.cameras:
        return cameras.filter(uid__in=matchers.cameras).exists()
    return cameras.filter(site__uid__in=matchers.sites).exists()


def may_act(person: Person) -> bool:
    """Whether this person may acknowledge and resolve what is visible; an observer only looks."""
    user = _user(person)
    return user is not None and (user.is_superuser or user.role in ACTING_ROLES)


def may_configure(person: Person) -> bool:
    """Whether this person may open the administrator's pages."""
    return sees_everything(person)


@receiver(pre_save, sender=User, dispatch_uid="frontend.staff_follows_role")
def _staff_follows_role(sender: type[User], instance: User, raw: bool = False, **kwargs: Any) -> None:
    """Django's two flags follow the role, so that there is one place to look for who may configure.

    Only an account that is being made may bring the flag first (``createsuperuser`` knows no role).
    """
    if raw:
        return
    if instance._state.adding and instance.is_superuser:
        instance.role = User.Role.ADMINISTRATOR
    instance.is_staff = instance.is_superuser = instance.role == User.Role.ADMINISTRATOR

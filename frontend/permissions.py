"""Who sees what and may do what. ``visible_cameras`` is the one door for views, sockets, API and pictures."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.db.models import QuerySet
from django.db.models.signals import pre_save
from django.dispatch import receiver

from alerts.models import Incident
from frontend.models import User
from streams.models import Camera

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
    """The incidents of visible cameras; those without a camera are for whoever sees everything."""
    if sees_everything(person):
        return Incident.objects.all()
    return Incident.objects.filter(camera__in=visible_cameras(person))


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

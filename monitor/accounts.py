"""The first accounts of an installation, with passwords that are shown once and kept only as hashes."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from django.db import transaction

from frontend import tokens
from frontend.models import User
from monitor.instance import UNSEEN, write_private
from streams.models import CameraGroup

ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""Without the characters that are taken for one another when read from a screen."""
ADMIN, OPERATOR = "admin", "operator"
TOKEN_NAME = "up"


def new_password() -> str:
    """Sixteen characters in four groups, 79 bits: a person can type it, nobody can guess it.

    >>> len(new_password())
    19
    """
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))


def create_accounts(data: Path) -> dict[str, Any]:
    """Make the administrator, the operator and the API token of ``up`` where they are missing.

    Whoever is active in a role already is enough: an account that was renamed or made inactive is not made again.

    Returns ``{"admin": {"user", "password"}, "operator": {…}, "token"}``; ``password`` is None for an account that was
    there already. A start that was broken off has shown nobody what it made: until ``UNSEEN`` is removed, those
    accounts get new passwords, unless somebody has logged in. A new operator sees every camera group there is, so seed
    the demo first. The token is kept in ``data``, readable by its owner alone, beside the key that could forge a
    session anyway.
    """
    with transaction.atomic():
        unseen = _unseen(data)
        admin, administrator = _account(ADMIN, User.Role.ADMINISTRATOR, unseen)
        operator, person = _account(OPERATOR, User.Role.OPERATOR, unseen)
        if operator["password"]:
            person.camera_groups.set(CameraGroup.objects.all())
        # Before the commit: a name too many here makes no difference, one too few would lock its owner out.
        if made := [str(one["user"]) for one in (admin, operator) if one["password"]]:
            write_private(data / UNSEEN, "\n".join(made))
    return {"admin": admin, "operator": operator, "token": _token(data / "token.secret", administrator)}


def seen(data: Path, name: str) -> None:
    """From now on somebody knows the password of ``name``."""
    if unseen := _unseen(data):
        write_private(data / UNSEEN, "\n".join(sorted(unseen - {name})))


def _unseen(data: Path) -> frozenset[str]:
    path = data / UNSEEN
    return frozenset(path.read_text().splitlines()) if path.exists() else frozenset()


def _account(name: str, role: str, unseen: frozenset[str]) -> tuple[dict[str, str | None], User]:
    user = _existing(name, role)
    if user is None:
        password = new_password()
        return {"user": name, "password": password}, User.objects.create_user(name, password=password, role=role)
    if user.username not in unseen or user.last_login is not None:
        return {"user": user.username, "password": None}, user
    password = new_password()
    user.set_password(password)
    user.save(update_fields=["password"])
    return {"user": user.username, "password": password}, user


def _existing(name: str, role: str) -> User | None:
    """The active user of ``role`` with that name, else the first one there is; last, whoever has the name."""
    active = User.objects.filter(role=role, is_active=True).order_by("pk")
    return active.filter(username=name).first() or active.first() or User.objects.filter(username=name).first()


def _token(path: Path, owner: User) -> str:
    """The token in ``path`` while it works; else a new one, and the old one is forgotten."""
    plain = path.read_text().strip() if path.exists() else ""
    if plain and tokens.authenticate(plain) is not None:
        return plain
    with transaction.atomic():
        owner.api_tokens.filter(name=TOKEN_NAME).delete()
        _row, plain = tokens.create(owner, TOKEN_NAME)
    write_private(path, plain)
    return plain

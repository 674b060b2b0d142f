"""Bearer tokens for the API: shown once when made, kept only as SHA-256, checked on every request."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from frontend.models import ApiToken, User

PREFIX = "poliscope_"
"""Lets secret scanners and people recognise one that leaked."""
USE_NOTED_EVERY = timedelta(minutes=1)
"""A poller must not turn every read into a write."""


def digest(plain: str) -> str:
    """What is stored of a token. 256 random bits need no slow hash: there is nothing to guess."""
    return hashlib.sha256(plain.encode()).hexdigest()


def create(user: User, name: str, *, expires_at: datetime | None = None) -> tuple[ApiToken, str]:
    """A new token of ``user`` and its plain text, which cannot be had again."""
    plain = PREFIX + secrets.token_urlsafe(32)
    return ApiToken.objects.create(user=user, name=name, digest=digest(plain), expires_at=expires_at), plain


def authenticate(plain: str, *, now: datetime | None = None) -> User | None:
    """Whose token ``plain`` is; None when it is unknown, expired, or its owner's account is inactive."""
    now = now or timezone.now()
    token = ApiToken.objects.select_related("user").filter(digest=digest(plain), user__is_active=True).first()
    if token is None or (token.expires_at is not None and token.expires_at <= now):
        return None
    _note_use(token, now)
    return token.user


def _note_use(token: ApiToken, now: datetime) -> None:
    if token.last_used_at is None or now - token.last_used_at >= USE_NOTED_EVERY:
        # Conditional, so that of many requests at once one writes.
        ApiToken.objects.filter(
            Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USE_NOTED_EVERY), pk=token.pk
        ).update(last_used_at=now)

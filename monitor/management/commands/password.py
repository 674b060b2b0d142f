"""``manage.py password [USER]``: a new password, printed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from frontend.models import User
from monitor.accounts import ADMIN, new_password, seen


class Command(BaseCommand):
    help = "Give a user a new password and print it once. Open sessions of that user end."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", nargs="?", default=ADMIN, help=f"user name (default: {ADMIN})")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["user"]
        user = User.objects.filter(username=name).first()
        if user is None:
            known = ", ".join(User.objects.order_by("username").values_list("username", flat=True)[:20])
            raise CommandError(f"user: expected one of {known or 'none yet'}, got {name!r}; write one of them")
        password = new_password()
        user.set_password(password)
        user.save(update_fields=["password"])
        seen(Path(settings.DATA_DIR), name)
        if not user.is_active:
            self.stderr.write(f"{name} is inactive and cannot log in; an administrator can activate the account")
        self.stdout.write(password)

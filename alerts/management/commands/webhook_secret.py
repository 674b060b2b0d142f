"""``manage.py webhook_secret ADDRESS``: what the receiver at an address checks our signatures with."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from alerts.notifiers.webhook import Webhook, secret_for


class Command(BaseCommand):
    help = "Print the secret that the receiver at ADDRESS checks the signatures of our webhooks with."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("address", help="exactly as the contact has it, for example https://example.org/hook")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            address = Webhook.clean_address(options["address"])
        except ValueError as error:
            raise CommandError(f"webhook_secret: {error}") from None
        self.stdout.write(secret_for(address, settings.SECRET_KEY))

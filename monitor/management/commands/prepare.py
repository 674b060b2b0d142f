"""``manage.py prepare``: everything ``up`` needs before its parts start, in one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from detectors.defaults import ensure_default_deployment, pools_in_use
from monitor.accounts import create_accounts
from monitor.instance import write_private
from streams.log import LogAddresses, LogError, open_log
from streams.topics import standing_topics


class Command(BaseCommand):
    help = "Migrate the database, make accounts and topics, collect static files, seed the demo."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--answer", type=Path, required=True, help="file (0600) that receives accounts and pools")
        parser.add_argument("--demo-port", type=int, default=0, help="RTSP port of the demo cameras; 0: no demo")
        parser.add_argument("--videos", type=Path, help="videos.json of the user's own films; none: no films")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        ensure_default_deployment()
        (Path(settings.DATA_DIR) / "uploads").mkdir(parents=True, exist_ok=True)
        self._demo(options["demo_port"])
        self._videos(options["videos"])
        pools = pools_in_use()
        try:
            log = open_log(LogAddresses.from_environment(), name="prepare")
            log.create(standing_topics(pools))
            log.close()
        except LogError as error:
            raise CommandError(f"the log: {error}") from None
        accounts = create_accounts(Path(settings.DATA_DIR))
        write_private(options["answer"], json.dumps({**accounts, "pools": pools}))

    def _demo(self, port: int) -> None:
        from monitor import demo

        if port:
            demo.seed(port)
        else:
            demo.retire()

    def _videos(self, board: Path | None) -> None:
        from monitor import videos

        if board is not None:
            videos.seed(videos.read_board(board))
        else:
            videos.retire()

"""``manage.py log``."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from streams.log import open_log
from streams.topics import OBSERVATIONS, Topic, frames
from tests.services.valkey import Valkey

pytestmark = [pytest.mark.valkey, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _environment(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", valkey.rest_url)
    monkeypatch.setenv("POLISCOPE_FRAMES_URL", valkey.frames_url)


def run(*arguments: str) -> str:
    told = StringIO()
    call_command("log", *arguments, stdout=told)
    return told.getvalue()


def test_init_creates_every_standing_topic_and_may_run_again(valkey: Valkey) -> None:
    assert run("init", "--pool", "general") == run("init", "--pool", "general")
    log = open_log(valkey.addresses)
    log.verify([OBSERVATIONS, frames("general")])
    log.close()


def test_status_tells_what_is_kept_and_who_lags(valkey: Valkey) -> None:
    run("init")
    log = open_log(valkey.addresses)
    producer = log.producer()
    for _ in range(3):
        producer.append("observations", 5, b"x")
    producer.close()
    line = next(line for line in run("status", "--group", "evaluate").splitlines() if line.startswith("observations"))
    assert line.split() == ["observations", "16", "3", "evaluate=3"]
    log.close()


def test_init_refuses_a_log_with_other_partitions(valkey: Valkey) -> None:
    log = open_log(valkey.addresses)
    log.create([Topic("observations", 8, 60, 2**20, True)])
    log.close()
    with pytest.raises(CommandError, match="expected 16 partitions, got 8"):
        run("init")


def test_status_says_what_to_do_before_init() -> None:
    with pytest.raises(CommandError, match=r"does not exist.*manage.py log init"):
        run("status")


def test_it_says_which_server_is_away(valkey: Valkey) -> None:
    valkey.kill9("rest")
    with pytest.raises(CommandError, match=r"redis://…@127.0.0.1.*no answer.*start that server"):
        run("init")

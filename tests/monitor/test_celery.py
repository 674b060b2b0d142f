"""Celery as the project's own application reads it: what a killed worker and a frozen broker may cost."""

from __future__ import annotations

from monitor.celery import app
from tests.test_architecture import SOURCES


def test_a_killed_workers_task_comes_back_within_a_minute_or_so() -> None:
    conf = app.conf
    # Acknowledging late alone loses the task of a killed child.
    assert (conf.task_acks_late, conf.task_reject_on_worker_lost) == (True, True)
    options = conf.broker_transport_options
    assert options["visibility_timeout"] <= 60
    # Of its own accord a worker looks each hundred seconds.
    assert options["unacked_restore_interval"] * options["unacked_restore_throttle"] <= 2
    assert conf.worker_prefetch_multiplier == 1


def test_a_task_ends_before_its_copy_begins() -> None:
    conf = app.conf
    assert conf.task_soft_time_limit < conf.task_time_limit < conf.broker_transport_options["visibility_timeout"]


def test_a_frozen_broker_holds_nobody_for_long() -> None:
    options = app.conf.broker_transport_options
    assert max(options["socket_timeout"], options["socket_connect_timeout"]) <= 3
    assert app.conf.task_publish_retry is False


def test_nothing_depends_on_what_the_broker_keeps() -> None:
    assert app.conf.task_ignore_result is True
    assert app.conf.result_backend is None
    # With Redis a task that is to run later is started several times.
    assert not [path for path in SOURCES if any(word in path.read_text() for word in ("countdown=", "eta="))]

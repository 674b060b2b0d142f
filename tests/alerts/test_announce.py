"""Announcing: a hint that arrives, and never a hindrance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import channel_layers, get_channel_layer
from django.db import transaction
from pytest_django import Settings

from alerts import announce as module
from alerts.announce import announce, stamp
from alerts.incidents import record
from alerts.models import Incident
from streams.models import SequenceCounter
from tests.alerts.town import Town, at
from tests.services.valkey import Valkey


@pytest.fixture(autouse=True)
def _rested() -> Iterator[None]:
    module._resting_until_s = float("-inf")
    yield
    module._resting_until_s = float("-inf")
    channel_layers.backends = {}


async def _listen() -> tuple[object, str]:
    layer = get_channel_layer()
    assert layer is not None
    name = await layer.new_channel()
    await layer.group_add("changes", name)
    return layer, name


async def test_it_reaches_whoever_listens() -> None:
    layer, name = await _listen()

    await sync_to_async(announce)(7)

    assert await asyncio.wait_for(layer.receive(name), 2) == {"type": "changes.announced", "change": 7}  # type: ignore[attr-defined]


async def test_it_may_be_called_on_the_loop_itself() -> None:
    layer, name = await _listen()

    announce(8)

    assert (await asyncio.wait_for(layer.receive(name), 2))["change"] == 8  # type: ignore[attr-defined]


def _through(settings: Settings, url: str) -> None:
    backend = "channels_redis.pubsub.RedisPubSubChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [url]}}}
    channel_layers.backends = {}


@pytest.mark.valkey
def test_it_goes_through_a_real_server(settings: Settings, valkey: Valkey) -> None:
    _through(settings, valkey.rest_url)
    pubsub = valkey.client().pubsub()
    pubsub.psubscribe("*changes*")
    pubsub.get_message(timeout=2)

    for change in (1, 2, 3):
        announce(change)

    seen = [pubsub.get_message(timeout=2) for _ in range(3)]
    assert all(message and message["type"] == "pmessage" for message in seen)


def test_it_neither_raises_nor_waits_without_a_server(settings: Settings) -> None:
    _through(settings, "redis://127.0.0.1:1/0")
    announce(1)

    began_s = time.monotonic()
    for change in range(1000):
        announce(change)
    # A thousand tries of 0.4 s each would take minutes; what counts is that they are not made.
    assert time.monotonic() - began_s < 60


@pytest.mark.valkey
def test_it_does_not_hold_anybody_while_the_server_is_frozen(settings: Settings, valkey: Valkey) -> None:
    _through(settings, valkey.rest_url)
    announce(1)
    valkey.pause("rest")
    try:
        announce(2)
        assert module._resting_until_s > time.monotonic()
    finally:
        valkey.resume("rest")


@pytest.mark.django_db
def test_it_announces_the_commit_and_not_before(
    town: Town, django_capture_on_commit_callbacks: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(module, "announce", told.append)
    record([town.event()], now=at(1))
    incident = Incident.objects.get()

    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        with transaction.atomic():
            change = stamp([incident.pk])
        assert told == []

    incident.refresh_from_db()
    assert told == [change] == [incident.change] == [SequenceCounter.current(SequenceCounter.CHANGES)]


def test_it_is_usable_from_synchronous_code_called_by_a_loop() -> None:
    async def serve() -> object:
        layer, name = await _listen()
        await sync_to_async(announce, thread_sensitive=False)(9)
        return (await asyncio.wait_for(layer.receive(name), 2))["change"]  # type: ignore[attr-defined]

    assert async_to_sync(serve)() == 9

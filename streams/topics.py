"""The log's topics and their bounds: every number about retention is here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

PARTITIONS = 16
"""Partitions of every per-camera topic. A camera's partition is its ``slot`` modulo this."""

MAX_RECORD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's bounds. Whatever is older than ``keep_s`` or beyond ``keep_bytes`` a partition may be gone."""

    name: str
    partitions: int
    keep_s: int
    keep_bytes: int
    durable: bool
    """False: acknowledged by one broker, kept in memory, may be empty after a restart. True: acks by all, on disk."""


OBSERVATIONS = Topic("observations", PARTITIONS, keep_s=12 * 3600, keep_bytes=64 * 2**20, durable=True)
EVENTS = Topic("events", PARTITIONS, keep_s=24 * 3600, keep_bytes=16 * 2**20, durable=True)
DEAD_LETTERS = Topic("dead-letters", 1, keep_s=7 * 24 * 3600, keep_bytes=32 * 2**20, durable=True)
HEALTH = Topic("health", 1, keep_s=600, keep_bytes=4 * 2**20, durable=True)


def frames(pool: str) -> Topic:
    """The topic of one detector pool: minutes of pictures, bounded in time and bytes."""
    if not pool or not all(c.isascii() and (c.isalnum() or c in "-_") for c in pool):
        raise ValueError(f"pool: expected letters, digits, '-' and '_', got {pool!r}; rename the pool")
    return Topic(f"frames.{pool}", PARTITIONS, keep_s=300, keep_bytes=24 * 2**20, durable=False)


def topic(name: str) -> Topic:
    """The topic called ``name``. Raises ``ValueError`` for a name that is none of ours."""
    for known in (OBSERVATIONS, EVENTS, DEAD_LETTERS, HEALTH):
        if known.name == name:
            return known
    if name.startswith("frames."):
        return frames(name.removeprefix("frames."))
    raise ValueError(f"topic: {name!r} is not one of ours; see streams/topics.py")


def partition_of(slot: int) -> int:
    """The partition that carries the camera with this ``slot``."""
    return slot % PARTITIONS


def standing_topics(pools: list[str]) -> list[Topic]:
    """Every topic an installation with these pools needs."""
    return [OBSERVATIONS, EVENTS, DEAD_LETTERS, HEALTH, *(frames(pool) for pool in sorted(set(pools)))]

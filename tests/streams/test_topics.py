"""The topics' names, partitions and bounds."""

from __future__ import annotations

import pytest

from streams.topics import EVENTS, OBSERVATIONS, PARTITIONS, Topic, frames, partition_of, standing_topics, topic


@pytest.mark.parametrize("name", ["observations", "events", "health", "dead-letters", "frames.general", "frames.a-b_1"])
def test_it_finds_a_topic_by_its_name(name: str) -> None:
    assert topic(name).name == name


@pytest.mark.parametrize("name", ["", "frames", "frames.", "frames.a b", "frames.ä", "other"])
def test_it_refuses_a_name_that_is_none_of_ours(name: str) -> None:
    with pytest.raises(ValueError, match=r"rename the pool|not one of ours"):
        topic(name)


def test_it_spreads_slots_over_all_partitions() -> None:
    assert [partition_of(slot) for slot in range(PARTITIONS)] == list(range(PARTITIONS))
    assert partition_of(PARTITIONS + 3) == 3


def test_frames_are_memory_and_the_rest_is_kept() -> None:
    assert not frames("general").durable
    assert all(one.durable for one in standing_topics([]))


def test_each_pool_has_its_topic_once() -> None:
    names = [one.name for one in standing_topics(["b", "a", "b"])]
    assert names == ["observations", "events", "dead-letters", "health", "frames.a", "frames.b"]


@pytest.mark.parametrize("one", [OBSERVATIONS, EVENTS, frames("general")])
def test_per_camera_topics_have_one_number_of_partitions(one: Topic) -> None:
    assert one.partitions == PARTITIONS


def test_a_pool_fits_the_frames_server() -> None:
    from monitor.valkey import FRAMES_MEMORY_MIB

    pool = frames("general")
    assert pool.partitions * pool.keep_bytes <= 0.8 * FRAMES_MEMORY_MIB * 2**20

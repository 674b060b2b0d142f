"""When a camera's key frames come often enough to rest on, and when its packets grow."""

from __future__ import annotations

import pytest

from streams.groups import DEAF_S, GROUP_MOST_BYTES, PROVEN, Groups

FPS = 10.0


def told(groups: Groups, group_s: float, count: int, *, size: int = 1500, from_s: float = 0.0) -> float:
    """``count`` groups of ``group_s``, and the key frame after them; returns its time."""
    pictures = round(group_s * FPS)
    for index in range(count * pictures + 1):
        groups.packet(from_s + index / FPS, 20_000 if index % pictures == 0 else size, key=index % pictures == 0)
    return from_s + count * group_s


@pytest.mark.parametrize(
    "group_s, size, restful",
    [
        (2.0, 1500, True),
        (0.5, 1500, True),
        (4.0, 1500, True),
        (5.0, 1500, False),
        (0.1, 1500, False),
        (4.0, GROUP_MOST_BYTES // 39, False),
    ],
)
def test_groups_of_a_fitting_length_can_be_rested_on(group_s: float, size: int, restful: bool) -> None:
    groups = Groups()
    at_s = told(groups, group_s, PROVEN, size=size)
    assert groups.restful(at_s) is restful


def test_the_first_groups_prove_nothing() -> None:
    groups = Groups()
    at_s = told(groups, 2.0, PROVEN - 1)
    assert not groups.restful(at_s)


def test_a_key_frame_that_does_not_come_ends_it() -> None:
    groups = Groups()
    at_s = told(groups, 2.0, PROVEN)
    for index in range(1, 50):
        groups.packet(at_s + index / FPS, 1500, key=False)
    assert groups.restful(at_s + 3.9)
    assert not groups.restful(at_s + 4.1)


def test_one_large_packet_is_no_jump_and_two_are_one() -> None:
    groups = Groups()
    at_s = told(groups, 2.0, PROVEN)
    assert not groups.packet(at_s + 0.1, 9000, key=False)
    assert not groups.packet(at_s + 0.2, 1500, key=False)
    assert not groups.packet(at_s + 0.3, 9000, key=False)
    assert groups.packet(at_s + 0.4, 9000, key=False)


def grows(groups: Groups, at_s: float) -> int:
    """How many jumps one burst of large packets makes."""
    groups.packet(at_s, 1500, key=False)
    return sum(groups.packet(at_s + 0.1 * index, 9000, key=False) for index in range(1, 10))


def test_every_burst_is_one_jump() -> None:
    groups = Groups()
    at_s = told(groups, 2.0, PROVEN)
    assert [grows(groups, at_s + 10 * index) for index in range(3)] == [1, 1, 1]


def test_the_first_packets_tell_only_what_is_usual() -> None:
    assert grows(Groups(), 0.0) == 0


def test_one_that_jumped_at_nothing_is_not_heard_for_a_while() -> None:
    groups = Groups()
    at_s = told(groups, 2.0, PROVEN)
    groups.mistrust(at_s)
    assert [grows(groups, at_s + 1), grows(groups, at_s + DEAF_S + 1)] == [0, 1]


def test_key_frames_are_large_and_no_jump() -> None:
    groups = Groups()
    told(groups, 2.0, PROVEN)
    assert not any(groups.packet(30 + 2.0 * index, 90_000, key=True) for index in range(5))

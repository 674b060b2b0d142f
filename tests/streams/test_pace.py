"""Rates and groups of pictures from packets: tables, no stream."""

from __future__ import annotations

import pytest

from streams.pace import Pace


def paced(
    count: int,
    *,
    fps: float = 25.0,
    every: int = 50,
    first: int = 0,
    pts: bool = True,
    backlog: int = 0,
    at_s: float = 7.0,
) -> Pace:
    """``count`` packets, key frames from number ``first`` on; the first ``backlog`` of them arrive at once."""
    pace = Pace()
    for n in range(count):
        key = every > 0 and n >= first and (n - first) % every == 0
        pts_s = n / fps if pts and n else None
        pace.add(key=key, size=9000 if key else 1000, pts_s=pts_s, arrived_s=at_s + max(0, n - backlog) / fps)
    return pace


@pytest.mark.parametrize(
    ("pace", "fps", "gop_frames", "gop_s", "at_least_s"),
    [
        (Pace(), 0, None, None, 0),
        (paced(1), 0, None, None, 0),
        (paced(126), 25, 50, 2, 2),
        (paced(126, pts=False), 25, 50, 2, 2),
        (paced(126, backlog=40), 25, 50, 2, 2),
        (paced(100), 25, 50, 2, 2),
        (paced(50), 25, None, None, 2),
        (paced(100, first=70), 25, None, None, 2.8),
        (paced(100, every=0), 25, None, None, 4),
        (paced(30, fps=5, every=1), 5, 1, 0.2, 0.2),
    ],
)
def test_it_measures_rate_and_groups(
    pace: Pace, fps: float, gop_frames: int | None, gop_s: float | None, at_least_s: float
) -> None:
    assert pace.fps == pytest.approx(fps)
    assert pace.gop_frames == gop_frames
    assert pace.gop_s == (None if gop_s is None else pytest.approx(gop_s))
    assert pace.gop_at_least_s == pytest.approx(at_least_s)


@pytest.mark.parametrize("jump_s", [900.0, -900.0])
def test_times_that_make_no_sense_give_way_to_the_arrivals(jump_s: float) -> None:
    pace = Pace()
    for n in range(51):
        pace.add(key=n == 0, size=1, pts_s=n / 25 + (jump_s if n > 25 else 0), arrived_s=n / 25)
    assert pace.fps == pytest.approx(25)


def test_presentation_times_that_stand_still_give_way_too() -> None:
    pace = Pace()
    for n in range(51):
        pace.add(key=n == 0, size=1, pts_s=0.0, arrived_s=n / 25)
    assert pace.fps == pytest.approx(25)


def test_pictures_that_are_sent_out_of_their_order_count_as_usual() -> None:
    pace = Pace()
    for n, shown in enumerate([0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9]):
        pace.add(key=n == 0, size=1, pts_s=shown / 5, arrived_s=n / 5)
    assert pace.fps == pytest.approx(5)


@pytest.mark.parametrize(("count", "kbps"), [(1, 0), (126, 8 * (9 + 49) / 2), (101, 8 * (9 + 49) / 2)])
def test_kilobits_are_of_whole_groups(count: int, kbps: float) -> None:
    assert paced(count).kbps == pytest.approx(kbps)

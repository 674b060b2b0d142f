"""How ``bench trust`` judges what was told, and which films it plays together."""

from __future__ import annotations

import json

import pytest

from bench.trust import Verdict, _print, batches, judge, judge_counts, summed
from bench.trust_plays import Play, scene_plays
from streams.scenes.trials import TRIALS, Watching

PLAY = Play("yard", 30.0, (), ())
Told = list[tuple[float, float]]


@pytest.mark.parametrize(
    "due, told, found, missed, false",
    [
        ((10.0,), [(10.4, 10.9)], 1, 0, 0),
        ((10.0,), [], 0, 1, 0),
        ((10.0,), [(9.5, 9.9)], 1, 0, 0),
        ((10.0,), [(8.5, 9.0)], 0, 1, 1),
        ((10.0,), [(13.5, 14.0)], 0, 1, 1),
        ((10.0,), [(10.4, 10.9), (11.0, 11.5)], 1, 0, 1),
        ((10.0, 20.0), [(10.4, 10.9), (20.4, 20.9)], 2, 0, 0),
        ((), [(3.0, 3.5)], 0, 0, 1),
    ],
    ids=["in time", "never", "a little early", "too early", "too late", "twice", "two of two", "out of nothing"],
)
def test_each_due_moment_takes_one_firing_in_its_time(
    due: tuple[float, ...], told: Told, found: int, missed: int, false: int
) -> None:
    verdict = Verdict(PLAY)
    judge(verdict, Watching("presence", due=due, late_s=3.0), told)
    assert (verdict.found, verdict.missed, verdict.false) == (found, missed, false)
    assert len(verdict.remarks) == missed + false


def test_a_delay_runs_from_when_it_was_due_until_it_was_known() -> None:
    verdict = Verdict(PLAY)
    judge(verdict, Watching("presence", due=(10.0,)), [(10.4, 10.9)])
    assert verdict.delays_s == [pytest.approx(0.9)]
    assert verdict.decided_s == [pytest.approx(0.5)]


@pytest.mark.parametrize(
    "got, found, missed, false",
    [((3, 1), 4, 0, 0), ((2, 1), 3, 1, 0), ((4, 1), 4, 0, 1), ((1, 3), 2, 2, 2)],
)
def test_counts_are_judged_in_each_direction(got: tuple[int, int], found: int, missed: int, false: int) -> None:
    verdict = Verdict(PLAY)
    judge_counts(verdict, (3, 1), got)
    assert (verdict.found, verdict.missed, verdict.false) == (found, missed, false)


def test_every_scene_plays_once_and_no_more_together_than_asked_for() -> None:
    plays = scene_plays()
    parts = batches(plays, 6.0)
    assert sorted(play.key for part in parts for play in part) == sorted(play.key for play in plays)
    assert all(sum(play.weight for play in part) <= 6.0 for part in parts)
    # Half of the twelve minutes that all of it may take, on scenes; the rest is drawing, clips and starting.
    assert sum(max(play.length_s for play in part) for part in parts) < 540


def test_a_scene_is_too_heavy_for_nobody() -> None:
    assert len(batches(scene_plays(), 0.1)) == len(scene_plays())


def test_all_figures_add_up() -> None:
    one, other = Verdict(PLAY, expected=2, found=1, false=1, delays_s=[1.0]), Verdict(PLAY, expected=1, found=1)
    figures = summed([one, other])
    assert (figures["expected"], figures["found"], figures["missed"], figures["false"]) == (3, 2, 1, 1)
    assert figures["delay_p99_s"] == 1.0
    assert summed([Verdict(PLAY)])["delay_p99_s"] is None


def test_what_is_asked_of_a_scene_is_what_its_trial_says() -> None:
    asked = {play.key: play.rules for play in scene_plays()}
    assert all(asked[trial.key] == trial.rules for trial in TRIALS)


def test_the_last_line_has_the_figures_of_scenes_and_of_clips(capsys: pytest.CaptureFixture[str]) -> None:
    scene = Verdict(scene_plays()[0], expected=2, found=2)
    clip = Verdict(Play("clip.mp4", 10.0, (), ()), expected=3, found=1)
    _print([scene, clip], "./poliscope bench trust")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["scenes"]["found"], told["footage"]["found"], told["footage"]["missed"]) == (2, 1, 2)
    assert told["clips"] == ["clip.mp4"]


def test_without_clips_the_last_line_has_no_figures_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    _print([Verdict(scene_plays()[0], expected=2, found=2)], "./poliscope bench trust --only scenes")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["scenes"]["found"], told["footage"], told["command"]) == (
        2,
        None,
        "./poliscope bench trust --only scenes",
    )

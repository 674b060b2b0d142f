"""What cannot be told of a kind that goes by something else than pictures."""

from __future__ import annotations

from pathlib import Path

from streams.observations import Observation
from tests.alerts.actors import of
from tests.alerts.histories import nobody, source
from tests.alerts.kept import keep
from tests.alerts.test_camera_health import lasting
from tests.alerts.test_rehearsal import rehearsed, summary_of
from tests.alerts.test_threshold import series

PM = {"quantity": "pm2.5", "bound": 50, "clear": 40, "hold_s": 20, "gap_s": 30, "rearm_s": 0}


def unknown(
    root: Path, kind: str, log: list[Observation], until_s: float, **config: object
) -> tuple[int, dict[str, float]]:
    """How often it would have fired, and what cannot be told, by reason in whole seconds."""
    keep(root, sorted(log, key=_when))
    summary = summary_of(rehearsed(root, of(kind, **config), from_s=0.0, until_s=until_s))
    return summary.fired, {reason: round(seconds) for reason, seconds in summary.unknown_s.items()}


def _when(one: object) -> object:
    return getattr(one, "captured_at", None) or getattr(one, "at", None)


def test_a_gap_in_the_series_cannot_be_told_however_much_was_seen(tmp_path: Path) -> None:
    fired, cannot = unknown(tmp_path, "threshold", [*nobody(0, 600, 1.0)], 600.0, **PM)
    assert (fired, cannot) == (0, {"unmeasured": 600})


def test_a_series_is_known_without_a_single_picture(tmp_path: Path) -> None:
    log = [*nobody(0, 1), *series(*[60.0] * 30, start_s=2.0)]
    fired, cannot = unknown(tmp_path, "threshold", list(log), 100.0, **PM)
    assert fired == 1 and "unlooked" not in cannot and "silent" not in cannot


def test_another_quantity_measures_nothing(tmp_path: Path) -> None:
    log = [*nobody(0, 1), *series(*[60.0] * 30, start_s=2.0)]
    fired, cannot = unknown(tmp_path, "threshold", list(log), 100.0, **{**PM, "quantity": "opacity"})
    assert (fired, cannot) == (0, {"unmeasured": 100})


def test_the_time_in_which_a_camera_is_offline_is_known_to_the_rule_about_that(tmp_path: Path) -> None:
    log = [*nobody(0, 1), *lasting(1, 600, "blind", "stalled")]
    fired, cannot = unknown(tmp_path, "health", list(log), 600.0, for_s=15, rearm_s=30)
    assert (fired, cannot) == (1, {})


def test_a_camera_of_which_nothing_is_heard_is_unknown_to_it_too(tmp_path: Path) -> None:
    log = [*nobody(0, 1), source(1, "active", since=0)]
    fired, cannot = unknown(tmp_path, "health", list(log), 600.0, for_s=15, rearm_s=30)
    assert (fired, cannot) == (0, {"silent": 599})

"""The last line of ``bench rules`` and ``bench rehearse``, run small: how fast they are is for the real run to say."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from bench import rehearse, rules


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return figures


def positive(figures: dict[str, Any], *names: str) -> bool:
    return all(math.isfinite(figures[name]) and figures[name] > 0 for name in names)


def test_the_rules_last_line_says_evaluations_and_the_slowest_of_a_hundred(capsys: pytest.CaptureFixture[str]) -> None:
    assert rules.main(["--cameras", "2", "--pictures", "6"]) == 0
    told = last_line(capsys)
    assert told["evaluations"] == 2 * 6 * rules.RULES
    assert positive(told, "evaluations_per_s", "p99_ms", "p50_ms") and told["p50_ms"] <= told["p99_ms"]
    assert told["command"] == "./poliscope bench rules --cameras 2 --pictures 6"
    assert told["hardware"]["cores"] >= 1 and told["versions"]["python"]


def test_the_rehearsals_last_line_says_a_week_and_what_a_day_weighs(capsys: pytest.CaptureFixture[str]) -> None:
    days = 0.01
    assert rehearse.main(["--days", str(days)]) == 0
    told = last_line(capsys)
    assert positive(told, "week_s", "archive_mb_per_camera_day", "compared_week_s", "tracked_anew_week_s")
    assert positive(told, "writer_cpu_s_per_partition_day")
    assert told["observations"] == sum(1 for _ in rehearse.week(days))
    assert told["command"] == f"./poliscope bench rehearse --days {days}"


def test_what_is_rehearsed_fires(capsys: pytest.CaptureFixture[str]) -> None:
    # Otherwise the week would be fast for nothing happening in it.
    rehearse.main(["--days", "0.02"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(("a draft", "tracked"))]
    assert len(rows) == 2 and all(int(row[-1]) > 0 for row in rows)

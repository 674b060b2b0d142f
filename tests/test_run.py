"""What ``./poliscope test`` runs: every test once, every Django test once more, and nothing twice in the counts."""

from __future__ import annotations

from collections import Counter

import pytest
from _pytest.mark.expression import Expression

from tests.run import JOBS, Job, summed

SQLITE = [job for job in JOBS if not job.postgres]
[POSTGRES] = [job for job in JOBS if job.postgres]


def takes(job: Job, folder: str, marks: set[str]) -> bool:
    """Whether the job runs a test of this folder with these marks."""
    *folders, _, expression = [word for word in job.chosen if not word.startswith("--ignore=")]
    left_out = {word.removeprefix("--ignore=") for word in job.chosen if word.startswith("--ignore=")}
    inside = not folders or folder in folders
    return inside and folder not in left_out and Expression.compile(expression).evaluate(lambda name: name in marks)


@pytest.mark.parametrize("folder", ["tests/end_to_end", "tests/browser", "tests/streams", "tests/alerts"])
@pytest.mark.parametrize("marks", [set(), {"slow"}, {"django_db"}, {"django_db", "slow"}], ids=str)
def test_every_test_is_in_one_job(folder: str, marks: set[str]) -> None:
    assert sum(takes(job, folder, marks) for job in SQLITE) == 1


@pytest.mark.parametrize("marks", [{"django_db"}, {"django_db", "slow"}], ids=str)
def test_every_django_test_runs_on_postgresql_too(marks: set[str]) -> None:
    assert takes(POSTGRES, "tests/streams", marks)
    assert not takes(POSTGRES, "tests/streams", marks - {"django_db"})


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)
def test_what_is_run_on_demand_is_in_no_job(job: Job) -> None:
    assert not takes(job, "tests/end_to_end", {"slow", "demand", "django_db"})


def test_a_repetition_counts_as_passed_but_no_marker_twice() -> None:
    found = Counter({"passed": 3, "failed": 1, "passed:django_db": 3, "passed:valkey": 2})
    assert summed(POSTGRES, found) == {"passed": 3, "failed": 1, "skipped": 0, "passed:postgres_again": 3}
    assert summed(SQLITE[0], found) == found

"""What a dead worker leaves to its successor."""

from __future__ import annotations

from pathlib import Path

import pytest

from detectors.batching import Entry
from detectors.suspects import Suspects

A, B = Entry(0, 10), Entry(0, 11)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes" / "detect.json"


def test_what_was_in_hand_is_suspected(path: Path) -> None:
    Suspects(path).take([A, B])
    after = Suspects(path)
    assert after.suspected(A) and after.suspected(B) and not after.fatal(A)


def test_what_did_no_harm_is_not(path: Path) -> None:
    before = Suspects(path)
    before.take([A, B])
    before.done([A, B])
    assert not Suspects(path).suspected(A)


def test_what_kills_alone_twice_is_fatal(path: Path) -> None:
    Suspects(path).take([A, B])
    Suspects(path).take([A])
    assert not Suspects(path).fatal(A)
    Suspects(path).take([A])
    assert Suspects(path).fatal(A) and not Suspects(path).fatal(B)


def test_those_not_yet_taken_stay_suspected(path: Path) -> None:
    Suspects(path).take([A, B])
    second = Suspects(path)
    second.take([A])
    second.done([A])
    third = Suspects(path)
    assert third.suspected(B) and not third.suspected(A)


def test_a_partition_that_went_on_clears_its_notes(path: Path) -> None:
    Suspects(path).take([A, B])
    second = Suspects(path)
    second.take([Entry(0, 500)])
    second.done([Entry(0, 500)])
    assert not Suspects(path).suspected(A)


@pytest.mark.parametrize("text", ["", "nonsense", "[[1]]", "{}", "[[1,2,3]"])
def test_an_unreadable_note_is_no_note(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    assert not Suspects(path).suspected(A)


def test_without_a_file_it_remembers_nothing() -> None:
    note = Suspects(None)
    note.take([A])
    assert not note.suspected(A)
    note.close()

"""The archive: exact, in log order, each row once, whatever happens to the process or the disk."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts import archive_upkeep
from alerts.archive import Archive, Query
from alerts.archive_files import Folder, hour_of
from alerts.archive_rows import Kept, Part, Wanted, rows_in, to_parquet, to_table
from alerts.archive_upkeep import by_camera, compact, merge, prune, size
from alerts.archive_writer import MAX_WAITING, ArchiveWriter
from alerts.engine import Engine
from alerts.zones import contains, holds
from streams.frame import UnknownVersion
from streams.observations import LogPosition, Measurement, Observation, Tick
from tests.alerts import archive_child
from tests.alerts.histories import (
    GATE,
    LANE_CORNERS,
    START,
    at,
    dropped,
    nobody,
    rule,
    seen,
    source,
    tick,
    walk,
    walker,
)

ROOT = Path(__file__).resolve().parents[2]
ALL = -1, -(2**62), 2**62
OTHER = UUID(int=44)
PARTITION = 5
LOG = "the log"


def measured(seconds: float) -> Measurement:
    return Measurement(camera=GATE, at=at(seconds), quantity="opacity", value=0.25, unit="1", uncertainty=0.01)


def kept(log: Sequence[Observation]) -> list[Kept]:
    """The rows that a fold of ``log`` gives."""
    engine = Engine([rule()])
    rows = [Kept(offset, observation, engine.step(observation).tracks) for offset, observation in enumerate(log)]
    return [row for row in rows if row.tracks is not None or not hasattr(row.observation, "xyxy")]


def fill(root: Path, rows: Sequence[Kept], stores: Sequence[int] = (), start: int = 0) -> ArchiveWriter:
    """An archive of ``rows`` with a store after each of these offsets, and at the end."""
    writer = ArchiveWriter(root)
    writer.begin(PARTITION, start, LOG)
    for row in rows:
        writer.keep(PARTITION, row.offset, row.observation, row.tracks)
        if row.offset in stores:
            writer.store(PARTITION, row.offset + 1)
    writer.store(PARTITION, rows[-1].offset + 1)
    writer.close()
    return writer


def read(root: Path, camera: UUID = GATE, **more: Any) -> list[Kept]:
    """Rows and ticks of one camera, put together in the order of the log."""
    query = {"from_at": at(-3600), "until_at": at(10**7), **more}
    rows: list[Kept] = []
    for batch in Archive(root).read(Query(camera, **query)):
        ticks = zip(batch.ticks.offset.tolist(), batch.ticks.at_us.tolist(), strict=True)
        here = [
            Kept(offset, Tick(at=START + timedelta(microseconds=us - round(START.timestamp() * 1e6))))
            for offset, us in ticks
        ]
        rows += sorted([*batch.rows, *here], key=lambda row: row.offset)
    return rows


VARIED: list[Observation] = [
    tick(0),
    *walk(0.5, 4, 0.1, 0.9),
    msgspec.structs.replace(seen(4.2, walker(0.4)), frame=LogPosition("frames.general", 5, 991)),
    source(5, "quiet"),
    source(6, "blind", since=5.5),
    dropped(7, 3),
    msgspec.structs.replace(dropped(8), deployment=None, reason="log"),
    measured(8.5),
    seen(9, walker(0.3), walker(0.31), walker(0.6, score=0.12), walker(0.7, label="car")),
    seen(9.2),
    tick(10),
]


def test_what_comes_back_is_what_went_in(tmp_path: Path) -> None:
    rows = kept(VARIED)
    fill(tmp_path, rows)
    assert read(tmp_path) == rows


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 5, st.sampled_from(["person", "car", "bus"])), max_size=6),
    st.integers(0, 2**40),
)
def test_every_bit_of_a_picture_is_kept(boxes: list[tuple[Any, ...]], offset: int) -> None:
    found = [((x1, y1, max(x1, x2), max(y1, y2)), score, label) for x1, y1, x2, y2, score, label in boxes]
    picture = seen(1.234567, *found)
    row = Kept(offset, picture, Engine([rule()]).step(picture).tracks)
    table = Part(to_file(to_parquet(to_table([row])))).table()
    assert rows_in(table, Wanted(GATE, *ALL, None)) == [row]


def to_file(content: bytes) -> Any:
    import pyarrow as pa

    return pa.BufferReader(content)


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_replays_from_anywhere_leave_each_row_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("archive")
    rows = kept(
        VARIED
        + [msgspec.structs.replace(one, sequence=one.sequence) for one in walk(3600, 3610, 0.1, 0.9)]
        + [tick(3611)]
    )
    end = 0
    for _ in range(data.draw(st.integers(1, 4))):
        until = data.draw(st.integers(end, len(rows)))
        start = data.draw(st.integers(0, end))
        if rows[start:until]:
            fill(root, rows[start:until], data.draw(st.lists(st.integers(0, 40), max_size=3)), rows[start].offset)
        end = max(end, until)
        if data.draw(st.booleans()):
            compact(Folder(root), PARTITION)
    fill(root, rows[end:], start=rows[end].offset) if end < len(rows) else None
    assert read(root) == rows


def test_another_owner_that_stores_the_same_again_gives_no_row_twice(tmp_path: Path) -> None:
    rows = kept(VARIED)
    one, two = ArchiveWriter(tmp_path), ArchiveWriter(tmp_path)
    for writer in (one, two):
        writer.begin(PARTITION, 0, LOG)
    for row in rows:
        one.keep(PARTITION, row.offset, row.observation, row.tracks)
        two.keep(PARTITION, row.offset, row.observation, row.tracks)
        if row.offset == 9:
            one.store(PARTITION, 10)
        if row.offset == 12:
            two.store(PARTITION, 13)
    one.store(PARTITION, len(VARIED))
    two.store(PARTITION, len(VARIED))
    assert read(tmp_path) == rows
    merge(Folder(tmp_path), PARTITION, hour_of(START))
    assert read(tmp_path) == rows
    assert not list(tmp_path.glob("parts/*/*/*"))


def test_positions_of_another_log_hide_nothing(tmp_path: Path) -> None:
    fill(tmp_path, kept(VARIED))
    later = kept([*walk(7200, 7205, 0.1, 0.9), tick(7206)])
    writer = ArchiveWriter(tmp_path)
    writer.begin(PARTITION, 0, "another log")
    for row in later:
        writer.keep(PARTITION, row.offset, row.observation, row.tracks)
    writer.store(PARTITION, len(later))
    writer.close()
    assert read(tmp_path) == [*kept(VARIED), *later]


@pytest.mark.parametrize("fails_at", range(4))
def test_a_merge_that_is_cut_short_anywhere_loses_and_repeats_nothing(
    tmp_path: Path, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [one for row in VARIED for one in (row, _of_other(row))]
    rows = kept(both)
    fill(tmp_path, rows, stores=[5, 20])
    writes = [0]
    write, delete = archive_upkeep.write_whole, archive_upkeep._delete

    def failing(*arguments: Any) -> None:
        writes[0] += 1
        if writes[0] > fails_at:
            raise OSError("pulled out")
        write(*arguments)

    monkeypatch.setattr(archive_upkeep, "write_whole", failing)
    monkeypatch.setattr(archive_upkeep, "_delete", lambda *_: None)
    if fails_at < 3:
        with pytest.raises(OSError, match="pulled out"):
            merge(Folder(tmp_path), PARTITION, hour_of(START))
    else:
        merge(Folder(tmp_path), PARTITION, hour_of(START))
    expected = [row for row in rows if getattr(row.observation, "camera", GATE) == GATE]
    assert read(tmp_path) == expected
    monkeypatch.setattr(archive_upkeep, "write_whole", write)
    monkeypatch.setattr(archive_upkeep, "_delete", delete)
    merge(Folder(tmp_path), PARTITION, hour_of(START))
    assert read(tmp_path) == expected
    assert not list(tmp_path.glob("parts/*/*/*"))


def _of_other(observation: Observation) -> Observation:
    if isinstance(observation, Tick):
        return observation
    return msgspec.structs.replace(observation, camera=OTHER)


def test_a_reader_goes_on_when_parts_are_merged_under_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = kept(VARIED)
    fill(tmp_path, rows, stores=[5, 12])
    archive = Archive(tmp_path)
    places = archive._places

    def then_merged(*arguments: Any) -> Any:
        found = places(*arguments)
        merge(Folder(tmp_path), PARTITION, hour_of(START))
        return found

    monkeypatch.setattr(Archive, "_places", lambda self, *arguments: then_merged(*arguments))
    batches = list(archive.read(Query(GATE, at(-60), at(3600), partition=PARTITION)))
    assert [row.offset for batch in batches for row in batch.rows] == [
        row.offset for row in rows if not isinstance(row.observation, Tick)
    ]


def test_killed_again_and_again_it_has_each_row_once(tmp_path: Path) -> None:
    root, position = tmp_path / "archive", tmp_path / "position"
    command = [sys.executable, "-m", "tests.alerts.archive_child", str(root), str(position)]
    dice = random.Random(3)
    for _ in range(3):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            for _ in range(dice.randint(5, 40)):
                child.stdout.readline()
            child.kill()
    assert subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False).returncode == 0
    engine = Engine([rule()])
    log = archive_child.history()
    expected = [Kept(offset, one, engine.step(one).tracks) for offset, one in enumerate(log)]
    assert read(root) == expected
    assert read(root, partition=archive_child.PARTITION) == expected


@contextmanager
def a_disk_that_takes(most_bytes: int) -> Iterator[None]:
    """No file may grow beyond ``most_bytes``: the kernel's own refusal, as of a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_stops_the_archive_and_never_the_fold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = kept(VARIED)
    writer = ArchiveWriter(tmp_path)
    writer.begin(PARTITION, 0, LOG)
    with a_disk_that_takes(100):
        for row in rows[:10]:
            writer.keep(PARTITION, row.offset, row.observation, row.tracks)
            writer.store(PARTITION, row.offset + 1)
    assert "too large" in writer.stopped and len(caplog.records) == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    for row in rows[10:]:
        writer.keep(PARTITION, row.offset, row.observation, row.tracks)
    writer.store(PARTITION, len(VARIED))
    writer.close()
    assert writer.stopped == ""
    assert read(tmp_path) == rows


def test_it_leaves_room_on_the_disk_for_the_others(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path, leave_bytes=10**18)
    writer.begin(PARTITION, 0, LOG)
    first = kept(VARIED)[0]
    writer.keep(PARTITION, first.offset, first.observation, first.tracks)
    writer.store(PARTITION, 1)
    assert "left free" in writer.stopped
    writer.close()


def test_a_disk_that_stays_full_costs_rows_and_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerts.archive_writer.MAX_WAITING", 8)
    rows = kept(VARIED)
    writer = ArchiveWriter(tmp_path)
    writer.begin(PARTITION, 0, LOG)
    with a_disk_that_takes(100):
        for row in rows[:9]:
            writer.keep(PARTITION, row.offset, row.observation, row.tracks)
        writer.store(PARTITION, 9)
    assert writer.let_go == 9 and MAX_WAITING > 8
    for row in rows[9:]:
        writer.keep(PARTITION, row.offset, row.observation, row.tracks)
    writer.store(PARTITION, len(VARIED))
    writer.close()
    assert read(tmp_path) == rows[9:]


def test_only_the_camera_the_span_and_the_labels_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[Observation] = []
    for hour in range(4):
        start = 3600.0 * hour
        log += [tick(start), *walk(start + 1, start + 3, 0.1, 0.9)]
        log += [_of_other(seen(start + 4, walker(0.5, label="car")))]
    fill(tmp_path, kept([*log, tick(4 * 3600)]))
    for hour in Folder(tmp_path).part_hours(PARTITION):
        merge(Folder(tmp_path), PARTITION, hour)
    opened: list[str] = []
    columns: list[bool] = []
    begin, tables = Part.__init__, Part.tables
    monkeypatch.setattr(Part, "__init__", lambda self, path: (opened.append(path), begin(self, path))[1])
    monkeypatch.setattr(Part, "tables", lambda self, *more: (columns.append(more[2]), tables(self, *more))[1])
    found = read(tmp_path, from_at=at(7200), until_at=at(7200 + 5), partition=PARTITION)
    assert {hour_of(row.observation.captured_at) for row in found if hasattr(row.observation, "xyxy")} == {
        "2026-11-21T08"
    }
    assert not [path for path in opened if str(OTHER) in path or "T06" in path]
    columns.clear()
    only = read(tmp_path, OTHER, labels=frozenset({"person"}), partition=PARTITION)
    assert not any(columns)
    pictures = [row for row in only if hasattr(row.observation, "xyxy")]
    assert len(pictures) == 4 and all(not row.tracks and not row.observation.label for row in pictures)  # type: ignore[union-attr]


def test_boxes_and_tracks_of_other_labels_are_left_out(tmp_path: Path) -> None:
    picture = [seen(1 + i / 5, walker(0.2), walker(0.6, label="car"), walker(0.8)) for i in range(3)]
    fill(tmp_path, kept(picture))
    cars = read(tmp_path, labels=frozenset({"car"}))
    assert [row.observation.label for row in cars] == [["car"]] * 3  # type: ignore[union-attr]
    assert [[track.label for track in row.tracks or []] for row in cars] == [["car"]] * 3
    assert cars[0].observation.xyxy == seen(1, walker(0.6, label="car")).xyxy  # type: ignore[union-attr]


def test_a_repeated_picture_is_kept_once(tmp_path: Path) -> None:
    engine, writer = Engine([rule()]), ArchiveWriter(tmp_path)
    writer.begin(PARTITION, 0, LOG)
    pictures = walk(0, 3, 0.1, 0.5)
    for offset, one in enumerate([*pictures, *pictures]):
        writer.keep(PARTITION, offset, one, engine.step(one).tracks)
    writer.store(PARTITION, 2 * len(pictures))
    writer.close()
    assert [row.observation for row in read(tmp_path)] == pictures


def test_what_is_old_goes_and_the_oldest_first_when_it_is_too_much(tmp_path: Path) -> None:
    log: list[Observation] = []
    for hour in range(6):
        log += [tick(3600.0 * hour), *walk(3600.0 * hour + 1, 3600.0 * hour + 3, 0.1, 0.9)]
    fill(tmp_path, kept([*log, tick(6 * 3600)]))
    for hour in range(6):
        merge(Folder(tmp_path), PARTITION, hour_of(at(3600 * hour)))
    folder, now = Folder(tmp_path), at(6 * 3600 + 60)
    whole = size(folder)
    assert (whole.oldest_hour, whole.newest_hour) == ("2026-11-21T06", "2026-11-21T12")
    assert set(by_camera(folder)) == {str(GATE), "ticks", "parts"}
    assert prune(folder, now, days=4 / 24, most_bytes=10**9)[0] == 4
    assert size(folder).oldest_hour == "2026-11-21T08"
    prune(folder, now, days=28, most_bytes=round(whole.bytes / 3))
    assert size(folder).bytes <= whole.bytes / 3
    left = read(tmp_path)
    assert hour_of(left[-1].observation.at) == "2026-11-21T12"  # type: ignore[union-attr]
    prune(folder, now, days=0, most_bytes=0)
    assert size(folder).newest_hour == "2026-11-21T12"


def test_what_a_dead_process_left_half_written_is_cleared(tmp_path: Path) -> None:
    import os

    fill(tmp_path, kept(VARIED))
    [part] = tmp_path.glob("parts/*/*/*")
    half = part.with_name(".half.parquet.1-aa")
    half.write_bytes(b"PAR1 and then the light went out")
    assert read(tmp_path) == kept(VARIED)
    os.utime(half, (0, 0))
    prune(Folder(tmp_path), at(0), days=28, most_bytes=10**9)
    assert not half.exists()


def test_what_a_killed_writer_left_beside_its_pictures_goes_with_their_hour(tmp_path: Path) -> None:
    import os

    folder = Folder(tmp_path)
    pictures = folder.pictures(GATE, hour_of(at(0)))
    journal, stranger = pictures.with_name(f"{pictures.name}-journal"), pictures.with_name("README.txt")
    pictures.parent.mkdir(parents=True)
    for path in (pictures, journal, stranger):
        path.write_bytes(b"x")
        os.utime(path, (0, 0))
    assert prune(folder, at(3600), days=28, most_bytes=10**9) == (0, 0)
    assert size(folder).oldest_hour == size(folder).newest_hour == hour_of(at(0))
    assert prune(folder, at(60 * 86_400), days=28, most_bytes=10**9) == (2, 2)
    assert list(pictures.parent.iterdir()) == [stranger]


def test_an_archive_of_another_version_is_refused_by_name(tmp_path: Path) -> None:
    fill(tmp_path, kept(VARIED))
    [part] = tmp_path.glob("parts/*/*/*")
    part.write_bytes(part.read_bytes().replace(b"poliscope.version\x18\x011", b"poliscope.version\x18\x019"))
    with pytest.raises(UnknownVersion, match="archive: expected version 1, got '9'"):
        read(tmp_path)


def test_parts_of_the_running_hour_are_put_together(tmp_path: Path) -> None:
    rows = kept(VARIED)
    fill(tmp_path, rows, stores=range(20))
    assert len(list(tmp_path.glob("parts/*/*/*"))) == 21
    compact(Folder(tmp_path), PARTITION)
    assert len(list(tmp_path.glob("parts/*/*/*"))) == 1
    assert read(tmp_path) == rows


@settings(max_examples=200)
@given(st.tuples(st.floats(0, 1), st.floats(0, 1)) | st.sampled_from([(0.4, 0.5), (0.8, 0.0), (0.6, 1.0), (0.81, 0.5)]))
def test_one_point_is_in_a_zone_as_many_are(point: tuple[float, float]) -> None:
    assert holds(LANE_CORNERS, *point) == contains(LANE_CORNERS, np.array([point])).tolist()[0]


def test_the_hour_is_that_of_utc() -> None:
    assert hour_of(START.astimezone(UTC)) == "2026-11-21T06"


def test_nothing_is_kept_of_a_partition_that_is_not_ours(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path)
    writer.keep(PARTITION, 0, nobody(0, 1)[0], [])
    writer.store(PARTITION, 1)
    writer.begin(PARTITION, 0, LOG)
    writer.keep(PARTITION, 0, nobody(0, 1)[0], [])
    writer.drop(PARTITION)
    writer.store(PARTITION, 1)
    writer.close()
    assert read(tmp_path) == []


def test_a_row_that_no_column_holds_is_let_go_and_evaluation_goes_on(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path)
    writer.begin(PARTITION, 0, LOG)
    monstrous = msgspec.structs.replace(seen(0, walker(0.3)), sequence=2**63)
    writer.keep(PARTITION, 0, monstrous, [])
    writer.store(PARTITION, 1)
    assert writer.stopped and writer.let_go == 1
    writer.keep(PARTITION, 1, seen(1, walker(0.3)), [])
    writer.store(PARTITION, 2)
    assert writer.stopped == ""
    writer.close()
    assert [row.offset for batch in Archive(tmp_path).read(Query(GATE, at(-10), at(10))) for row in batch.rows] == [1]


def test_a_folder_that_cannot_be_read_stops_the_archive_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "parts").write_text("no folder")
    writer = ArchiveWriter(tmp_path)
    writer.begin(PARTITION, 7, LOG)
    assert writer.stopped
    writer.close()


def test_a_part_of_many_pictures_is_read_whole() -> None:
    rows = [Kept(number, seen(number / 5, walker(0.3, 0.8)), None) for number in range(9000)]
    table = Part(to_file(to_parquet(to_table(rows)))).table()
    assert table.num_rows == len(rows)
    assert table.column("label").to_pylist()[-1] == ["person"]

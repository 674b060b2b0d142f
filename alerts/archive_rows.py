"""What the fold consumed, as columns and back: one row an observation, its tracks beside it. Pure.

Exact: what comes back equals what went in to the bit, or a rehearsal would not give the events that happened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, cast
from uuid import UUID

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from detectors.tracking import Track
from streams import observations as wire
from streams.frame import UnknownVersion
from streams.instants import to_us, to_utc

ROWS_VERSION = 1
DETECTIONS, DROPPED, SOURCE, MEASUREMENT, TICK = range(5)

Index = npt.NDArray[np.int64]


class Kept(msgspec.Struct, frozen=True, gc=False):
    """One observation at its place in the log; ``tracks`` is None for what is no picture."""

    offset: int
    observation: wire.Observation
    tracks: list[Track] | None = None


_WORDS = ("camera", "deployment", "view", "model", "frame_topic", "word")
_COUNTS = {"kind": pa.int8(), "width": pa.int32(), "height": pa.int32(), "frame_partition": pa.int32()}
_NUMBERS = ("offset", "at_us", "session", "sequence", "frame_offset", "since_us", "count")
_BOXES = ("xyxy", "score", "label")
_TRACKS: dict[str, pa.DataType] = {
    "t_box": pa.int16(),
    "t_number": pa.int32(),
    "t_label": pa.string(),
    "t_session": pa.int64(),
    "t_sequence": pa.int64(),
    "t_first_us": pa.int64(),
    "t_hits": pa.int32(),
}
_LISTS: dict[str, pa.DataType] = {"xyxy": pa.float32(), "score": pa.float32(), "label": pa.string(), **_TRACKS}
SCHEMA = pa.schema(
    [
        *((name, pa.int64()) for name in _NUMBERS),
        *_COUNTS.items(),
        *((name, pa.string()) for name in _WORDS),
        ("other", pa.binary()),
        *((name, pa.list_(kind)) for name, kind in _LISTS.items()),
    ]
)
PLAIN = [name for name in SCHEMA.names if name not in _LISTS]
"""The columns without boxes and tracks."""
_ENCODING = {
    **dict.fromkeys(("offset", "at_us", "session", "sequence", "frame_offset", "since_us"), "DELTA_BINARY_PACKED"),
    **dict.fromkeys(("xyxy.list.element", "score.list.element"), "BYTE_STREAM_SPLIT"),
    **dict.fromkeys(("t_number.list.element", "t_sequence.list.element", "t_first_us.list.element"), "PLAIN"),
}
_BY_WORD = [*_WORDS, "label.list.element", "t_label.list.element"]


def time_of(observation: wire.Observation) -> datetime:
    """When it was taken or said."""
    return observation.captured_at if isinstance(observation, wire.Detections | wire.Dropped) else observation.at


# Towards the columns.


def to_table(rows: Sequence[Kept]) -> pa.Table:
    """The columns of ``rows``, in their order."""
    cells = [_cells(row) for row in rows]
    columns = {name: [one.get(name) for one in cells] for name in SCHEMA.names}
    for name in (*_NUMBERS, *_COUNTS):
        columns[name] = [value or 0 for value in columns[name]]
    for name in _WORDS:
        columns[name] = [value or "" for value in columns[name]]
    for name in _LISTS:
        columns[name] = [[] if value is None else value for value in columns[name]]
    return pa.table(columns, schema=SCHEMA)


def _cells(row: Kept) -> dict[str, Any]:
    observation = row.observation
    common = {"offset": row.offset, "at_us": to_us(time_of(observation))}
    match observation:
        case wire.Detections():
            return {
                **common,
                "kind": DETECTIONS,
                **_picture_cells(observation),
                **_track_cells(observation, row.tracks),
            }
        case wire.Dropped():
            deployment = "" if observation.deployment is None else str(observation.deployment)
            own = {"deployment": deployment, "count": observation.count, "word": observation.reason}
            return {**common, "kind": DROPPED, **_place(observation), **own}
        case wire.SourceState():
            word = f"{observation.state} {observation.reason}"
            return {
                **common,
                "kind": SOURCE,
                **_place(observation),
                "since_us": to_us(observation.since_at),
                "word": word,
            }
        case wire.Tick():
            return {**common, "kind": TICK}
        case wire.Measurement():
            packed = wire.encode_observation(observation)
            return {**common, "kind": MEASUREMENT, "camera": str(observation.camera), "other": packed}


def _place(observation: wire.Detections | wire.Dropped | wire.SourceState) -> dict[str, Any]:
    return {"camera": str(observation.camera), "session": observation.session, "sequence": observation.sequence}


def _picture_cells(seen: wire.Detections) -> dict[str, Any]:
    frame = seen.frame
    return {
        **_place(seen),
        "deployment": str(seen.deployment),
        "view": str(seen.view),
        "model": seen.model,
        "width": seen.source_wh[0],
        "height": seen.source_wh[1],
        "frame_topic": frame.topic if frame else "",
        "frame_partition": frame.partition if frame else 0,
        "frame_offset": frame.offset if frame else 0,
        "xyxy": np.frombuffer(seen.xyxy, "<f4"),
        "score": np.frombuffer(seen.score, "<f4"),
        "label": seen.label,
    }


def _track_cells(seen: wire.Detections, tracks: list[Track] | None) -> dict[str, Any]:
    if not tracks:
        return {}
    boxes = np.frombuffer(seen.xyxy, "<f4").reshape(-1, 4).tolist()
    scores = np.frombuffer(seen.score, "<f4").tolist()
    place = {(*box, score): index for index, (box, score) in enumerate(zip(boxes, scores, strict=True))}
    return {
        "t_box": [place[(*track.xyxy, track.score)] for track in tracks],
        "t_number": [track.number for track in tracks],
        "t_label": [track.label for track in tracks],
        "t_session": [track.first[0] for track in tracks],
        "t_sequence": [track.first[1] for track in tracks],
        "t_first_us": [to_us(track.first_at) for track in tracks],
        "t_hits": [track.hits for track in tracks],
    }


def to_parquet(table: pa.Table) -> bytes:
    """``table`` as a Parquet file with zstd; the labels and cameras in it are named in the footer."""
    said = {
        "poliscope.version": str(ROWS_VERSION),
        "poliscope.labels": " ".join(_words(table, "label") | _words(table, "t_label")),
        "poliscope.cameras": " ".join(_words(table, "camera") - {""}),
    }
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        SCHEMA,
        compression="zstd",
        compression_level=3,
        use_dictionary=_BY_WORD,
        column_encoding=_ENCODING,
        write_statistics=["at_us", "offset"],
        store_schema=False,
    ) as writer:
        writer.write_table(table.cast(SCHEMA), row_group_size=8192)
        writer.add_key_value_metadata(said)
    return cast(bytes, sink.getvalue().to_pybytes())


def _words(table: pa.Table, name: str) -> set[str]:
    found: set[str] = set()
    for chunk in table.column(name).chunks:
        values = chunk.flatten() if pa.types.is_list(chunk.type) else chunk
        found |= set(values.unique().to_pylist())
    return found


# And back.


class Part:
    """One Parquet file of rows, opened: its footer is read, its columns only when asked for. Raises ``OSError``."""

    def __init__(self, path: str) -> None:
        self._file = pq.ParquetFile(path, read_dictionary=_BY_WORD, memory_map=False)
        said = {key.decode(): value.decode() for key, value in (self._file.metadata.metadata or {}).items()}
        if said.get("poliscope.version") != str(ROWS_VERSION):
            raise UnknownVersion("archive", said.get("poliscope.version"), ROWS_VERSION)
        self.labels = frozenset(said["poliscope.labels"].split())
        self.cameras = frozenset(map(UUID, said["poliscope.cameras"].split()))

    def table(self) -> pa.Table:
        """Everything, with plain strings."""
        # One by one: pyarrow cannot read nested words out of several row groups at once (ArrowNotImplementedError).
        groups = range(self._file.metadata.num_row_groups)
        return pa.concat_tables([self._file.read_row_group(one, use_threads=False).cast(SCHEMA) for one in groups])

    def tables(self, from_at_us: int, until_at_us: int, boxes: bool) -> Iterator[pa.Table]:
        """Row groups that touch [from, until), in order; without ``boxes`` only the plain columns are read."""
        metadata = self._file.metadata
        column = self._file.schema_arrow.names.index("at_us")
        for number in range(metadata.num_row_groups):
            known = metadata.row_group(number).column(column).statistics
            if known is not None and known.has_min_max and (known.max < from_at_us or known.min >= until_at_us):
                continue
            yield self._file.read_row_group(number, columns=None if boxes else PLAIN, use_threads=False)


class Ticks(NamedTuple):
    """Ticks as arrays of equal length, in log order."""

    offset: Index
    at_us: Index


class Batch(NamedTuple):
    """A stretch of one camera's log: its rows, and beside them the ticks up to where it ends."""

    rows: list[Kept]
    ticks: Ticks


class Wanted(NamedTuple):
    """Which rows of a table: one camera's with an offset above ``after`` and a time in [from, until)."""

    camera: UUID
    after: int
    from_at_us: int
    until_at_us: int
    labels: frozenset[str] | None
    """Boxes and tracks of other labels are left out; None: none is."""


def ticks_in(table: pa.Table, wanted: Wanted) -> Ticks:
    """The ticks of ``table`` with an offset above ``wanted.after`` and a time within its bounds."""
    offset, at_us = table.column("offset").to_numpy(), table.column("at_us").to_numpy()
    chosen = (table.column("kind").to_numpy() == TICK) & (offset > wanted.after)
    chosen &= (at_us >= wanted.from_at_us) & (at_us < wanted.until_at_us)
    return Ticks(offset[chosen], at_us[chosen])


def rows_in(table: pa.Table, wanted: Wanted) -> list[Kept]:
    """The wanted rows as observations, in the table's order."""
    chosen = _chosen(table, wanted)
    if not chosen.any():
        return []
    return _decode(table if chosen.all() else table.filter(pa.array(chosen)), wanted.labels)


def _chosen(table: pa.Table, wanted: Wanted) -> npt.NDArray[np.bool_]:
    at_us, offset = table.column("at_us").to_numpy(), table.column("offset").to_numpy()
    chosen = (offset > wanted.after) & (at_us >= wanted.from_at_us) & (at_us < wanted.until_at_us)
    codes, names = _codes(table.column("camera"))
    ours = np.array([name == str(wanted.camera) for name in names] or [False], bool)
    return cast("npt.NDArray[np.bool_]", chosen & ours[codes])


def _codes(column: Any) -> tuple[Index, list[str]]:
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    return array.indices.to_numpy(zero_copy_only=False).astype(np.int64), array.dictionary.to_pylist()


def _strings(column: Any) -> list[str]:
    codes, names = _codes(column)
    return cast("list[str]", np.array([*names, ""], object)[codes].tolist())


class _Lists:
    """A list column: ``flat`` values and where each row's begin."""

    def __init__(self, table: pa.Table, name: str) -> None:
        array = table.column(name).combine_chunks()
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        offsets = array.offsets.to_numpy()
        # Values of a filtered table may begin anywhere; flatten() is what the rows hold.
        self.bounds: Index = (offsets - offsets[0]).astype(np.int64)
        self._values = array.flatten()

    def numbers(self) -> npt.NDArray[Any]:
        return cast("npt.NDArray[Any]", self._values.to_numpy(zero_copy_only=False))

    def names(self) -> npt.NDArray[np.object_]:
        return (
            np.array(_strings(pa.chunked_array([self._values])), object) if len(self._values) else np.empty(0, object)
        )


def _kept_bounds(bounds: Index, keep: npt.NDArray[np.bool_]) -> Index:
    return cast(Index, np.concatenate(([0], np.cumsum(keep)))[bounds])


class _Boxes(NamedTuple):
    """The boxes of all rows: row i's are those from ``bounds[i]`` to ``bounds[i + 1]``."""

    bounds: list[int]
    xyxy: bytes
    score: bytes
    label: list[str]


def _boxes(table: pa.Table, labels: frozenset[str] | None) -> _Boxes:
    names, corners, scores = _Lists(table, "label"), _Lists(table, "xyxy"), _Lists(table, "score")
    label, xyxy, score = names.names(), corners.numbers().reshape(-1, 4), scores.numbers()
    bounds = names.bounds
    if labels is not None:
        keep = np.array([name in labels for name in label.tolist()], bool)
        label, xyxy, score, bounds = label[keep], xyxy[keep], score[keep], _kept_bounds(bounds, keep)
    return _Boxes(bounds.tolist(), xyxy.astype("<f4").tobytes(), score.astype("<f4").tobytes(), label.tolist())


def _tracks(table: pa.Table, labels: frozenset[str] | None) -> tuple[list[int], list[Track]]:
    """Where each row's tracks begin, and all of them."""
    lists = {name: _Lists(table, name) for name in _TRACKS}
    corners, scores = _Lists(table, "xyxy"), _Lists(table, "score")
    bounds = lists["t_box"].bounds
    row = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    box = scores.bounds[row] + lists["t_box"].numbers().astype(np.int64)
    columns = {name: column.numbers() for name, column in lists.items() if name != "t_label"}
    label = lists["t_label"].names()
    if labels is not None:
        keep = np.array([name in labels for name in label.tolist()], bool)
        columns, label, box = {name: value[keep] for name, value in columns.items()}, label[keep], box[keep]
        bounds = _kept_bounds(bounds, keep)
    xyxy = corners.numbers().reshape(-1, 4)[box].tolist()
    found = map(
        Track,
        columns["t_number"].tolist(),
        map(tuple, xyxy),
        scores.numbers()[box].tolist(),
        label.tolist(),
        zip(columns["t_session"].tolist(), columns["t_sequence"].tolist(), strict=True),
        map(_cached_from_us, columns["t_first_us"].tolist()),
        columns["t_hits"].tolist(),
    )
    return bounds.tolist(), list(found)


_cached_from_us = lru_cache(maxsize=1024)(to_utc)


def _decode(table: pa.Table, labels: frozenset[str] | None) -> list[Kept]:
    plain = _Plain(table)
    empty = [0] * (len(table) + 1)
    pictures = "xyxy" in table.column_names
    boxes = _boxes(table, labels) if pictures else _Boxes(empty, b"", b"", [])
    where, tracks = _tracks(table, labels) if pictures else (empty, [])
    rows = list(map(Kept, plain.offset, plain.pictures(boxes), [tracks[a:b] for a, b in pairwise(where)]))
    for row in np.flatnonzero(table.column("kind").to_numpy() != DETECTIONS).tolist():
        rows[row] = Kept(plain.offset[row], plain.other(row))
    return rows


class _Plain:
    """The columns without lists, as Python lists."""

    def __init__(self, table: pa.Table) -> None:
        self.offset, self._kind = _ints(table, "offset"), _ints(table, "kind")
        self._at = list(map(to_utc, _ints(table, "at_us")))
        self._session, self._sequence = _ints(table, "session"), _ints(table, "sequence")
        self._wh = list(zip(_ints(table, "width"), _ints(table, "height"), strict=True))
        topics = _strings(table.column("frame_topic"))
        places = _ints(table, "frame_partition"), _ints(table, "frame_offset")
        self._frames = [
            wire.LogPosition(topic, *place) if topic else None for topic, *place in zip(topics, *places, strict=True)
        ]
        self._since_us, self._count = _ints(table, "since_us"), _ints(table, "count")
        self._model, self._word = _strings(table.column("model")), _strings(table.column("word"))
        self._camera, self._view = _uuids(table.column("camera")), _uuids(table.column("view"))
        self._deployment = _uuids(table.column("deployment"))
        self._other = table.column("other")

    def pictures(self, boxes: _Boxes) -> list[wire.Detections]:
        """A picture for every row; those of rows that are none mean nothing and are not looked at."""
        bounds, xyxy, score, label = boxes
        return [
            wire.Detections(
                camera=camera,
                deployment=deployment,
                session=session,
                sequence=sequence,
                captured_at=at,
                view=view,
                model=model,
                source_wh=wh,
                xyxy=xyxy[16 * start : 16 * end],
                score=score[4 * start : 4 * end],
                label=label[start:end],
                frame=frame,
            )
            for camera, deployment, session, sequence, at, view, model, wh, frame, start, end in zip(
                self._camera,
                self._deployment,
                self._session,
                self._sequence,
                self._at,
                self._view,
                self._model,
                self._wh,
                self._frames,
                bounds[:-1],
                bounds[1:],
                strict=True,
            )
        ]

    def other(self, row: int) -> wire.Observation:
        kind = self._kind[row]
        if kind == MEASUREMENT:
            return wire.decode_observation(self._other[row].as_py())
        at = self._at[row]
        if kind == TICK:
            return wire.Tick(at=at)
        camera, session, sequence = self._camera[row], self._session[row], self._sequence[row]
        if kind == DROPPED:
            return wire.Dropped(
                camera=camera,
                deployment=self._deployment[row],
                session=session,
                sequence=sequence,
                captured_at=at,
                count=self._count[row],
                reason=cast(Any, self._word[row]),
            )
        state, _, reason = self._word[row].partition(" ")
        return wire.SourceState(
            camera=camera,
            session=session,
            sequence=sequence,
            at=at,
            state=cast(Any, state),
            since_at=to_utc(self._since_us[row]),
            reason=reason,
        )


def _ints(table: pa.Table, name: str) -> list[int]:
    return cast("list[int]", table.column(name).to_numpy().tolist())


def _uuids(column: Any) -> list[Any]:
    """The UUID of each row, None for an empty text; one object for each name, so that comparing them costs nothing."""
    codes, names = _codes(column)
    return cast("list[Any]", np.array([*map(_uuid, names), None], object)[codes].tolist())


@lru_cache(maxsize=4096)
def _uuid(name: str) -> UUID | None:
    return UUID(name) if name else None

"""Many cameras at once: the text that people paste from a spreadsheet, read and checked. Pure; nothing is written here.

Passwords stand in ``Row.login`` and nowhere else: not in a ``repr``, not in a sentence.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from streams.addresses import SECRET, parse
from streams.problems import AddressRefused, _
from streams.time_zones import time_zones

ROWS_MAX = 500
TEXT_MAX = 1_000_000
"""Characters of the whole text: 500 rows of the longest cells are fewer."""
LENGTHS = {"name": 100, "site": 100, "group": 100, "time_zone": 64, "user": 200, "password": 200}
"""Characters of a cell, as the database has them; addresses have their own limit."""
PLAIN = ("name", "address", "user", "password", "site", "group")
"""The columns of a list without headings."""
ADDRESSES = ("address", "detect", "record", "view")

HEADINGS: Mapping[str, tuple[str, ...]] = {
    "name": ("name", "camera", "camera name", "名稱", "名称", "攝影機", "攝影機名稱", "摄像机", "監視器"),
    "address": ("address", "url", "rtsp", "rtsp url", "rtsp address", "stream", "main stream", "位址", "地址", "網址"),
    "detect": (
        *("detect", "detect address", "detect address (sub-stream)", "detect url", "sub-stream", "substream"),
        *("sub stream", "sub-stream address", "偵測位址", "偵測", "子碼流", "子串流", "次串流"),
    ),
    "record": ("record", "record address", "record url", "錄影位址", "錄影", "主碼流", "主串流"),
    "view": ("view", "view address", "view url", "觀看位址", "觀看"),
    "user": ("user", "user name", "username", "login", "account", "使用者", "使用者名稱", "帳號", "用戶名", "用户名"),
    "password": ("password", "pass", "pwd", "密碼", "密码"),
    "site": ("site", "place", "location", "地點", "地点", "場所", "場域", "站點"),
    "group": ("group", "camera group", "群組", "攝影機群組", "组", "群组"),
    "time_zone": ("time zone", "timezone", "tz", "時區", "时区"),
    "enabled": ("enabled", "active", "on", "啟用", "启用"),
}
"""Headings by field, in lower case; ``_heading`` forgives spaces, hyphens and brackets."""
YES = frozenset({"yes", "y", "true", "1", "on", "x", "是", "啟用", "启用", "開", "v"})
NO = frozenset({"no", "n", "false", "0", "off", "否", "停用", "關"})


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one line. ``msgid`` with ``params`` is a sentence; no cell but a name is repeated in it."""

    line: int
    msgid: str
    params: Mapping[str, object] = field(default_factory=dict)

    def sentence(self, translate: Callable[[str], str] = str) -> str:
        """In the words of ``translate``."""
        return translate(self.msgid) % self.params


@dataclass(frozen=True, slots=True)
class Row:
    """One camera of the list. Empty means: not said.

    ``addresses``: by column (``address`` is the one without a role), checked, without user and password; ``login``:
    user and password for all of them; ``line``: where it begins in the text, from 1.
    """

    line: int
    name: str
    addresses: Mapping[str, str] = field(repr=False)
    login: tuple[str, str] = field(default=("", ""), repr=False)
    site: str = ""
    group: str = ""
    time_zone: str = ""
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class CameraList:
    """What was read: good rows, and a problem for every other line. ``ignored``: headings that mean nothing here."""

    rows: tuple[Row, ...] = ()
    problems: tuple[Problem, ...] = ()
    ignored: tuple[str, ...] = ()


class _Wrong(Exception):
    """One line is refused; the others go on."""

    def __init__(self, msgid: str, **params: object) -> None:
        super().__init__(msgid)
        self.msgid, self.params = msgid, params


def read(text: str) -> CameraList:
    """The cameras in ``text``: comma, semicolon or tab; with headings in English or Chinese, or the columns ``PLAIN``.

    Never raises: what is wrong is a ``Problem`` with its line.
    """
    if len(text) > TEXT_MAX:
        return _refused(_("The list has %(got)d characters; %(most)d are allowed."), got=len(text), most=TEXT_MAX)
    records, unread = _records(text.removeprefix("\ufeff"))
    if unread:
        return _refused(
            _("This line cannot be read as part of a table. Is there a quotation mark too many or too few?"), unread
        )
    if not records:
        return _refused(_("The list is empty. Paste one camera a line."))
    try:
        columns, ignored = _columns(records[0][1])
    except _Wrong as wrong:
        return _refused(wrong.msgid, records[0][0], **wrong.params)
    rows = records[1:] if columns else records
    if len(rows) > ROWS_MAX:
        return _refused(_("The list has %(got)d rows; %(most)d are allowed."), got=len(rows), most=ROWS_MAX)
    if not rows:
        return _refused(_("The list has headings and no cameras. Paste one camera a line."))
    return _without_duplicates(rows, columns, ignored)


def _refused(msgid: str, line: int = 1, **params: object) -> CameraList:
    return CameraList(problems=(Problem(line, msgid, params),))


def _records(text: str) -> tuple[list[tuple[int, list[str]]], int]:
    """Line number and cells of every line that is not blank; and the first line that is no table, 0 for none."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    records, line = [], 1
    try:
        for cells in reader:
            stripped = [cell.strip().strip("\ufeff\u200b") for cell in cells]
            if any(stripped):
                records.append((line, stripped))
            line = reader.line_num + 1
    except csv.Error:
        return [], line
    return records, 0


def _delimiter(text: str) -> str:
    """The one that the first line has most of, outside quotation marks; a tab before others: spreadsheets paste it."""
    bare = re.sub(r'"[^"]*"', "", text)
    first = next((line for line in bare.splitlines() if line.strip()), "")
    return max("\t;,", key=lambda mark: (first.count(mark), mark == "\t"))


def _heading(cell: str) -> str:
    return re.sub(r"[\s_\-()（）:：*]+", "", cell).casefold()


_FIELDS = {_heading(word): name for name, words in HEADINGS.items() for word in words}


def _columns(first: list[str]) -> tuple[list[str | None] | None, tuple[str, ...]]:
    """The field of every column, None for one that means nothing; no list at all when ``first`` is a camera."""
    found = [_FIELDS.get(_heading(cell)) for cell in first]
    if any("://" in cell for cell in first) or not any(found):
        return None, ()
    named = [name for name in found if name is not None]
    for name in named:
        if named.count(name) > 1:
            raise _Wrong(_("Two columns mean the same: %(column)s. Remove one of them."), column=HEADINGS[name][0])
    if "name" not in named or not set(named) & set(ADDRESSES):
        raise _Wrong(_("The list needs a column “name” and a column “address”."))
    ignored = tuple(cell for cell, name in zip(first, found, strict=True) if cell and name is None)
    return found, ignored


def _without_duplicates(
    records: Iterable[tuple[int, list[str]]], columns: list[str | None] | None, ignored: tuple[str, ...]
) -> CameraList:
    """Row by row; a camera or an address that stood above already is refused with both lines."""
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: dict[tuple[str, ...], int] = {}
    for line, cells in records:
        try:
            row = _row(line, _fields(cells, columns))
            marks = [("name", row.site, row.name), *(("address", address) for address in set(row.addresses.values()))]
            for mark in marks:
                if mark in seen:
                    raise _duplicate(mark, row, seen[mark])
        except _Wrong as wrong:
            problems.append(Problem(line, wrong.msgid, wrong.params))
            continue
        seen.update(dict.fromkeys(marks, line))
        rows.append(row)
    return CameraList(tuple(rows), tuple(problems), ignored)


def _duplicate(mark: tuple[str, ...], row: Row, first: int) -> _Wrong:
    params = {"name": row.name, "first": first, "second": row.line}
    if mark[0] == "name":
        return _Wrong(
            _("“%(name)s” stands in lines %(first)d and %(second)d. Give one of them another name."), **params
        )
    return _Wrong(_("Lines %(first)d and %(second)d have the same address. Remove one of them."), **params)


def _fields(cells: list[str], columns: list[str | None] | None) -> dict[str, str]:
    """The cells by field; cells beyond the last heading must be empty."""
    names = list(PLAIN) if columns is None else columns
    if any(cells[len(names) :]):
        raise _Wrong(
            _("This line has %(got)d columns; %(most)d are expected. Is a cell with a comma not in quotation marks?"),
            got=len(cells),
            most=len(names),
        )
    return {name: cell for name, cell in zip(names, cells, strict=False) if name is not None}


def _row(line: int, cells: Mapping[str, str]) -> Row:
    _check_lengths(cells)
    if not cells.get("name"):
        raise _Wrong(_("This camera has no name."))
    given = {column: cells[column] for column in ADDRESSES if cells.get(column)}
    if not given:
        raise _Wrong(_("“%(name)s” has no address. Write it like rtsp://host:port/path."), name=cells["name"])
    if len(given) > len(ADDRESSES) - 1:
        raise _Wrong(_("“%(name)s” has four addresses; a camera has at most three."), name=cells["name"])
    addresses, logins = {}, {(cells.get("user", ""), cells.get("password", ""))} - {("", "")}
    for column, cell in given.items():
        addresses[column], login = _address(cell)
        logins |= {login} - {("", "")}
    if len(logins) > 1:
        raise _Wrong(_("“%(name)s” has different log-ins in its cells. Write one of them."), name=cells["name"])
    return Row(
        line=line,
        name=cells["name"],
        addresses=addresses,
        login=next(iter(logins), ("", "")),
        site=cells.get("site", ""),
        group=cells.get("group", ""),
        time_zone=_time_zone(cells.get("time_zone", "")),
        enabled=_enabled(cells.get("enabled", "")),
    )


def _check_lengths(cells: Mapping[str, str]) -> None:
    for name, most in LENGTHS.items():
        cell = cells.get(name, "")
        if len(cell) > most:
            raise _Wrong(
                _("The column “%(column)s” has %(got)d characters; %(most)d are allowed."),
                column=HEADINGS[name][0],
                got=len(cell),
                most=most,
            )
        if re.search(r"[\x00-\x1f\x7f]", cell):
            raise _Wrong(_("The column “%(column)s” contains a control character."), column=HEADINGS[name][0])


def _address(cell: str) -> tuple[str, tuple[str, str]]:
    """The address without its log-in, and the log-in. Raises ``_Wrong``, with nothing of ``cell`` in it."""
    scheme, mark, rest = cell.partition("://")
    host, slash, path = re.fullmatch(r"([^/?#]*)([/?#]?)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    # A password with a "/" and an "@" in it cannot be told from a path with an "@": better to ask than to show it.
    if "@" in path or SECRET.search(unquote(path)):
        raise _Wrong(_("The address contains a password. Write user name and password in their own columns."))
    login, _at, host = host.rpartition("@")
    user, _colon, password = login.partition(":")
    address = f"{scheme}{mark}{host}{slash}{path}"
    try:
        parse(address)
    except AddressRefused as refused:
        raise _Wrong(refused.msgid, **refused.params) from None
    return address, (unquote(user), unquote(password))


def _time_zone(cell: str) -> str:
    if cell and cell not in time_zones():
        raise _Wrong(_("The column “time zone” has no time zone. Use an IANA name such as Asia/Taipei."))
    return cell


def _enabled(cell: str) -> bool | None:
    word = cell.casefold()
    if word in YES or word in NO:
        return word in YES
    if word:
        raise _Wrong(_("The column “enabled” has a word that is not known. Write yes or no."))
    return None

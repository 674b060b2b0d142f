"""A configuration's text: TOML, written in one stable order and read without trust. Pure.

TOML because it has what Git and people need (a line a setting, comments) and none of what an attacker needs: no
references that unfold, no types that construct things, and a name given twice is an error.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from typing import Any
from uuid import UUID

import msgspec

from alerts.configuration.entries import KINDS, Entries, Entry, Key, TemplateEntry, nothing
from alerts.ground import BadGround, check_ground
from alerts.overrides import FIELDS, resolve
from alerts.rules.registry import BadConfig, read_config, settings_naming_rules
from alerts.versions import Words
from alerts.zones import BadPoints, check_points
from streams.time_zones import time_zones

VERSION = 1
BYTES_MOST = 2_000_000
"""Of a text. A thousand cameras with their zones and rules have about one."""
ENTRIES_MOST = 20_000
DEPTH_MOST = 8
DOTS_MOST = 4
"""In a row, in a name: ``a.b.c`` nests."""
LARGEST = 1e9
HEAD = """\
# Configuration of Poliscope. Whatever has a name is known by it. Log-ins of cameras are never in here.
version = 1
"""


def _(text: str) -> str:
    """Marks a sentence for translation."""
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, for a person: where it stands and what to do. ``line`` counts from 1; 0 where it is unknown."""

    words: Words
    line: int = 0
    kind: str = ""
    key: Key = ()


@dataclass(slots=True)
class Text:
    """What was read. Where there are ``problems``, ``entries`` lack what is wrong. ``lines``: where each one begins."""

    entries: Entries = field(default_factory=nothing)
    lines: dict[tuple[str, Key], int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line_of(self, kind: str, key: Key) -> int:
        """Where the entry begins; 0 for one that is not in the text."""
        return self.lines.get((kind, key), 0)


# Writing

TABLES = ("sources", "condition", "config", "changes", "ground")
"""Fields that are written as tables of their own, a line a setting."""
LISTS_OF_TABLES = ("contacts", "overrides", "steps", "taken_over")


def write(entries: Entries) -> str:
    """The text of ``entries``; the same for the same ones, whatever their order."""
    parts = [HEAD]
    for kind in KINDS:
        for key in sorted(entries[kind]):
            parts.append("".join(f"{line}\n" for line in _table(kind, _plain(entries[kind][key]), f"[[{kind}]]")))
    return "\n".join(parts)


def _plain(entry: Entry) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(entry)
    return plain


def _table(path: str, values: Mapping[str, Any], head: str) -> Iterator[str]:
    yield head
    # TOML has no word for "nothing": what is not there is not written.
    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        if name not in (*TABLES, *LISTS_OF_TABLES):
            yield f"{_name(name)} = {_value(value)}"
    for name in (name for name in TABLES if given.get(name)):
        yield from _table(f"{path}.{name}", given[name], f"[{path}.{name}]")
    for name in (name for name in LISTS_OF_TABLES if given.get(name)):
        for inner in given[name]:
            yield from _table(f"{path}.{name}", inner, f"[[{path}.{name}]]")


def _name(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else _string(name)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _block(value) if "\n" in value else _string(value)
        case Mapping():
            inner = ", ".join(f"{_name(str(k))} = {_value(v)}" for k, v in value.items() if v is not None)
            return f"{{{inner}}}"
        case Sequence():
            return f"[{', '.join(_value(inner) for inner in value)}]"
    raise TypeError(f"configuration: expected a plain value, got {type(value).__name__}; give text.py a form for it")


def _string(value: str) -> str:
    # JSON's escapes are TOML's, but for this one.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _block(value: str) -> str:
    """A text of several lines, with its line breaks as such."""
    lines = "\n".join(_string(line)[1:-1] for line in value.split("\n"))
    return f'"""\n{lines}"""'


# Reading


class _Bad(ValueError):
    def __init__(self, line: int, msgid: str, **params: object) -> None:
        super().__init__(msgid)
        self.problem = Problem(Words(msgid, params), line)


def read(text: str) -> Text:
    """What ``text`` says, with everything that is wrong about it. Never raises, and takes time as its length."""
    found = Text()
    text = text.replace("\r\n", "\n")  # as browsers send what stands in a form
    try:
        plain = _without_strings(text)
        _check_size(text, plain)
        tables = _parse(text)
        _check_top(tables)
        _Reader(found, _Lines(plain)).read(tables)
    except _Bad as bad:
        found.problems.append(bad.problem)
    return found


def _check_size(text: str, plain: str) -> None:
    size = len(text.encode("utf-8", "replace"))
    if size > BYTES_MOST:
        raise _Bad(
            0,
            _("The text has %(got)d bytes; %(most)d are allowed. Split it up."),
            got=size,
            most=BYTES_MOST,
        )
    depth = 0
    for mark in re.finditer(r"[\[\]{}]", plain):
        depth += 1 if mark[0] in "[{" else -1
        if depth > DEPTH_MOST:
            line = plain.count("\n", 0, mark.start()) + 1
            raise _Bad(line, _("This is nested deeper than %(most)d levels."), most=DEPTH_MOST)
    # Each part of a dotted name nests once more, and tomllib's work grows with the square of their number.
    if found := re.search(rf"(?:\.[^\n.=\[\]{{}},]*){{{DOTS_MOST + 1}}}", plain):
        line = plain.count("\n", 0, found.start()) + 1
        raise _Bad(line, _("This name has more than %(most)d dots."), most=DOTS_MOST)


def _parse(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text, parse_float=_finite)
    except _Bad as bad:
        token = str(bad.problem.words.params["got"])
        raise _Bad(_line_of_token(text, token), bad.problem.words.msgid, **bad.problem.words.params) from None
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise _Bad(
            int(line[1]) if line else 0,
            _("This is no TOML: %(problem)s."),
            problem=re.sub(r" \(at .*\)$", "", str(error)),
        ) from None
    except (ValueError, RecursionError):
        raise _Bad(0, _("The text holds a number that is too long, or is nested too deeply.")) from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise _Bad(0, _("Expected an ordinary number, got %(got)s. Write another."), got=text[:40])
    return value


def _line_of_token(text: str, token: str) -> int:
    at = text.find(token)
    return text.count("\n", 0, at) + 1 if at >= 0 else 0


def _check_top(tables: Mapping[str, Any]) -> None:
    if tables.get("version") != VERSION:
        raise _Bad(
            0,
            _("Expected “version = %(version)d” in the first lines, got %(got)s. Export a text to see how it looks."),
            version=VERSION,
            got=repr(tables.get("version"))[:40],
        )
    for name, value in tables.items():
        if name != "version" and (
            name not in KINDS or not isinstance(value, list) or not all(isinstance(one, dict) for one in value)
        ):
            raise _Bad(
                0,
                _("Expected tables like [[%(known)s]], got “%(name)s”. Correct or remove it."),
                known="]], [[".join(KINDS),
                name=name[:60],
            )
    count = sum(len(value) for name, value in tables.items() if name != "version")
    if count > ENTRIES_MOST:
        raise _Bad(0, _("The text has %(got)d tables; %(most)d are allowed."), got=count, most=ENTRIES_MOST)


_OPENING = re.compile(r"\"\"\"|'''|\"|'|#")
_ENDS = {
    '"""': re.compile(r'(?:[^\\"]|\\[\s\S]|"(?!""))*"""'),
    "'''": re.compile(r"(?:[^']|'(?!''))*'''"),
    '"': re.compile(r'(?:[^\\"\n]|\\.)*"?'),
    "'": re.compile(r"[^'\n]*'?"),
    "#": re.compile(r"[^\n]*"),
}


def _without_strings(text: str) -> str:
    """``text`` without strings and comments, its line breaks kept. One pass, whatever it is."""
    parts, at = [], 0
    while opening := _OPENING.search(text, at):
        closed = _ENDS[opening[0]].match(text, opening.end())
        end = closed.end() if closed else len(text)
        parts += [text[at : opening.start()], "\n" * text.count("\n", opening.start(), end)]
        at = end
    return "".join(parts) + text[at:]


class _Lines:
    """Where the tables and their fields stand, found in the text without strings."""

    _HEADER = re.compile(r"^[ \t]*\[\[?[ \t]*([A-Za-z_]+)((?:[ \t]*\.[ \t]*[A-Za-z_]+)*)[ \t]*\]\]?[ \t]*$")
    _FIELD = re.compile(r"^[ \t]*([A-Za-z_]+)[ \t]*=")

    def __init__(self, plain: str) -> None:
        self.starts: dict[str, list[int]] = {}
        self._fields: dict[int, dict[str, int]] = {}
        start, prefix = 0, ""
        for number, line in enumerate(plain.split("\n"), start=1):
            if (header := self._HEADER.match(line)) and header[1] in KINDS:
                prefix = header[2].replace(" ", "").lstrip(".").split(".")[0]
                if not prefix and line.lstrip().startswith("[["):
                    start = number
                    self.starts.setdefault(header[1], []).append(number)
                else:
                    self._fields.setdefault(start, {}).setdefault(prefix, number)
            elif (found := self._FIELD.match(line)) and start:
                name = f"{prefix}.{found[1]}" if prefix else found[1]
                self._fields.setdefault(start, {}).setdefault(name, number)

    def of(self, start: int, name: str) -> int:
        """The line of a field (``hz``, ``config.hold_s``) of the entry that begins at ``start``, or of its table."""
        fields = self._fields.get(start, {})
        return fields.get(name) or fields.get(name.split(".")[0]) or start


class _Reader:
    def __init__(self, found: Text, lines: _Lines) -> None:
        self._found, self._lines = found, lines

    def read(self, tables: Mapping[str, Any]) -> None:
        for kind, struct in KINDS.items():
            starts = self._lines.starts.get(kind, [])
            for number, table in enumerate(tables.get(kind, [])):
                # Tables written on one line, ``site = [{…}]``, have no header to be found by.
                self._read_one(kind, struct, table, starts[number] if number < len(starts) else 0)

    def _read_one(self, kind: str, struct: type[Entry], table: Mapping[str, Any], start: int) -> None:
        try:
            _check_numbers(table)
            entry = _CHECKS.get(kind, _as_it_is)(msgspec.convert(table, struct))
        except msgspec.ValidationError as error:
            path = _path(str(error))
            self._refuse(kind, table, start, path, Words("%(text)s", {"text": str(error).split(" - at ")[0]}), path)
            return
        except _Wrong as wrong:
            self._refuse(kind, table, start, wrong.field, wrong.words)
            return
        if (first := self._found.lines.get((kind, entry.key))) is not None:
            words = Words(_("This name stands in line %(first)d already. Choose another."), {"first": first})
            self._refuse(kind, table, start, "name", words)
            return
        self._found.entries[kind][entry.key] = entry
        self._found.lines[kind, entry.key] = start

    def _refuse(
        self, kind: str, table: Mapping[str, Any], start: int, name: str, words: Words, shown: str = ""
    ) -> None:
        key = tuple(str(table.get(one, "?"))[:100] for one in KINDS[kind].named_by)
        if shown:
            words = Words(_("%(field)s: %(problem)s. Correct it."), {"field": shown, "problem": words.params["text"]})
        self._found.problems.append(Problem(words, self._lines.of(start, name), kind, key))


class _Wrong(ValueError):
    def __init__(self, field: str, msgid: str, **params: object) -> None:
        super().__init__(msgid)
        self.field, self.words = field, Words(msgid, params)


def _path(message: str) -> str:
    """``config.hold_s`` of msgspec's “… - at `$.config.hold_s`”; a field that nobody knows is named by itself."""
    if unknown := re.search(r"unknown field `([^`]*)`", message):
        at = re.search(r" - at `\$\.?([^`]*)`", message)
        return f"{at[1]}.{unknown[1]}" if at and at[1] else unknown[1]
    if missing := re.search(r"missing required field `([^`]*)`", message):
        return missing[1]
    at = re.search(r" - at `\$\.?([^`]*)`", message)
    return re.sub(r"\[[^\]]*\]", "", at[1]) if at else ""


def _check_numbers(value: Any, name: str = "") -> None:
    """Floats were checked as they were read; whole numbers of any length are checked here."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_numbers(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for inner in value:
            _check_numbers(inner, name)
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST:
        raise _Wrong(
            name, _("Expected an ordinary number, got one of %(n)d digits. Write another."), n=len(str(abs(value)))
        )


def _as_it_is(entry: Any) -> Any:
    return entry


def _time_zone(entry: Any) -> Any:
    if entry.time_zone and entry.time_zone not in time_zones():
        raise _Wrong(
            "time_zone", _("“%(name)s” is not a time zone. Use an IANA name such as Asia/Taipei."), name=entry.time_zone
        )
    return entry


def _quiet_hours(entry: Any) -> Any:
    """A time zone, and both ends of the quiet hours or neither."""
    if (entry.quiet_from is None) != (entry.quiet_until is None):
        raise _Wrong("quiet_until", _("Enter both ends of the quiet hours, or neither."))
    return _time_zone(entry)


def _days(entry: Any) -> Any:
    """A time zone, days of the calendar, and somebody who has the duty."""
    for name, days in (("starts_on", [entry.starts_on]), ("holidays", entry.holidays)):
        for day in days:
            try:
                date.fromisoformat(day)
            except ValueError:
                raise _Wrong(name, _("“%(day)s” is no day of the calendar."), day=day) from None
    if not entry.members:
        raise _Wrong("members", _("Choose at least one person, or nobody would have the duty."))
    taken_over = [_in_utc(one, "taken_over") for one in entry.taken_over]
    return _time_zone(msgspec.structs.replace(entry, taken_over=taken_over))


def _in_utc(entry: Any, field: str) -> Any:
    """Its moments in UTC, however they are written, so that the same one reads the same."""
    from_at, until_at = entry.from_at.astimezone(UTC), entry.until_at.astimezone(UTC)
    if until_at <= from_at:
        raise _Wrong(field, _("It must end after it begins."))
    return msgspec.structs.replace(entry, from_at=from_at, until_at=until_at)


def _silence(entry: Any) -> Any:
    """It ends after it begins, and means something."""
    if not any((entry.sites, entry.cameras, entry.rules, entry.labels, entry.severities)):
        raise _Wrong("reason", _("Name at least one site, camera, rule, label or severity: what is to be silent?"))
    return _in_utc(msgspec.structs.replace(entry, reason=" ".join(entry.reason.split())), "until_at")


def _window(entry: Any) -> Any:
    """Its name as it is stored. Its schedule is judged where its site is known."""
    return msgspec.structs.replace(entry, name=" ".join(entry.name.split()))


def _corners(entry: Any) -> Any:
    polygons = (
        [("points", entry.points, entry.shape)]
        if hasattr(entry, "points")
        else [("masks", mask, "polygon") for mask in entry.masks]
    )
    for name, points, shape in polygons:
        try:
            check_points(points, shape)
        except BadPoints as bad:
            raise _Wrong(name, bad.msgid, **bad.params) from None
    return entry


def _view(entry: Any) -> Any:
    """Masks and ground, where they are."""
    if entry.ground is not None:
        try:
            check_ground(entry.ground)
        except BadGround as bad:
            raise _Wrong(f"ground.{bad.field}", bad.msgid, **bad.params) from None
    return _corners(entry)


def _settings(entry: Any) -> Any:
    """The settings with what they leave out, as the kind's config fills it in. Other rules stand there by name."""
    given = entry.config
    named = {one: given[one] for one in settings_naming_rules(entry.kind) if isinstance(given.get(one), str)}
    try:
        config = msgspec.to_builtins(read_config(entry.kind, given | dict.fromkeys(named, _SOME_UID)))
    except BadConfig as bad:
        path = _path(str(bad))
        raise _Wrong(f"config.{path}" if path else "kind", "%(text)s", text=bad) from None
    return msgspec.structs.replace(entry, config=config | named)


_SOME_UID = str(UUID(int=0))
"""In place of a rule's name, which the kind's config does not know."""


def _places(entry: Any) -> Any:
    """A template's settings, and that each override names exactly one place."""
    for override in entry.overrides:
        if sum(place is not None for place in (override.site, override.group, override.camera)) != 1:
            raise _Wrong("overrides", _("An override names exactly one of site, group and camera."))
        if unknown := sorted(override.changes.keys() - set(FIELDS)):
            raise _Wrong(
                "overrides",
                _("An override cannot change “%(name)s”; it can change %(known)s."),
                name=unknown[0][:40],
                known=", ".join(FIELDS),
            )
        _check_result(entry, override.changes)
    return _settings(entry)


def _check_result(entry: Any, changes: Mapping[str, Any]) -> None:
    """What results at an override's place must be a template, too."""
    plain = {name: getattr(entry, name) for name in FIELDS}
    found = resolve(plain, [changes])
    result = msgspec.to_builtins(entry) | found | {"policy": found["policy"] or None}
    try:
        _settings(msgspec.convert(msgspec.to_builtins(result), TemplateEntry))
    except msgspec.ValidationError as error:
        raise _Wrong("overrides", "%(text)s", text=error) from None
    except _Wrong as wrong:
        raise _Wrong("overrides", wrong.words.msgid, **wrong.words.params) from None


_CHECKS = {
    "site": _time_zone,
    "recipient": _quiet_hours,
    "rota": _days,
    "view": _view,
    "zone": _corners,
    "rule": _settings,
    "template": _places,
    "window": _window,
    "silence": _silence,
}

"""What a list of cameras would do to the cameras that are there, before anything is done. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from streams.camera_list import CameraList, Problem, Row
from streams.problems import _

Kind = Literal["new", "change", "same", "refused"]


@dataclass(frozen=True, slots=True)
class Existing:
    """A camera that is there. ``addresses`` and ``logins`` (user and password) by role: detect, record, view."""

    name: str
    site: str
    group: str
    addresses: Mapping[str, str] = field(repr=False)
    logins: Mapping[str, tuple[str, str]] = field(default_factory=dict, repr=False)
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one line.

    ``fields``: what differs, of ``group``, ``detect``, ``record``, ``view``, ``login`` and ``enabled``; all that is
    given, for a new camera. ``addresses``: by role, those to be written; ``site`` and ``group``: as they will be.
    ``row`` is None where the line could not be read; ``problem`` says why it is refused.
    """

    line: int
    kind: Kind
    row: Row | None = None
    fields: tuple[str, ...] = ()
    addresses: Mapping[str, str] = field(default_factory=dict, repr=False)
    site: str = ""
    group: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A step for every line, in their order; sites (with their time zone) and groups that will be made."""

    steps: tuple[Step, ...]
    sites: Mapping[str, str]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a row that does not say it means; empty for nothing, so that such a row is refused."""

    site: str = ""
    group: str = ""
    time_zone: str = "UTC"


class _Refused(Exception):
    def __init__(self, msgid: str, **params: object) -> None:
        super().__init__(msgid)
        self.msgid, self.params = msgid, params


def plan(
    cameras: CameraList,
    existing: Iterable[Existing],
    *,
    sites: Mapping[str, str],
    groups: Iterable[str],
    defaults: Defaults = Defaults(),
) -> Plan:
    """What ``cameras`` would do. ``sites``: time zone by name, and ``groups``: names, of those that are there.

    A camera is known by its site and name. What a row does not say stays as it is; a log-in is written for every
    address of the row.
    """
    planner = _Planner(list(existing), dict(sites), set(groups), defaults)
    steps = [planner.step(row) for row in cameras.rows]
    steps += [Step(problem.line, "refused", problem=problem) for problem in cameras.problems]
    steps.sort(key=lambda step: step.line)
    return Plan(tuple(steps), planner.new_sites, tuple(planner.new_groups))


class _Planner:
    def __init__(self, existing: list[Existing], sites: dict[str, str], groups: set[str], defaults: Defaults) -> None:
        self._by_name = {(camera.site, camera.name): camera for camera in existing}
        self._owners = {address: camera for camera in existing for address in camera.addresses.values()}
        self._sites, self._groups, self._defaults = sites, groups, defaults
        self.new_sites: dict[str, str] = {}
        self.new_groups: list[str] = []

    def step(self, row: Row) -> Step:
        try:
            return self._step(row)
        except _Refused as refused:
            return Step(row.line, "refused", row, problem=Problem(row.line, refused.msgid, refused.params))

    def _step(self, row: Row) -> Step:
        site = self._site(row)
        camera = self._by_name.get((site, row.name))
        group = row.group or (camera.group if camera else self._defaults.group)
        if not group:
            raise _Refused(_("“%(name)s” names no group. Fill the column, or choose one for all."), name=row.name)
        addresses = _by_role(row, camera)
        for address in addresses.values():
            owner = self._owners.get(address)
            if owner is not None and owner is not camera:
                raise _Refused(
                    _("“%(name)s” has an address that “%(owner)s” has already."), name=row.name, owner=owner.name
                )
        fields = _given(row, addresses) if camera is None else _differing(row, camera, group, addresses)
        self._make(row, site, group)
        kind: Kind = "new" if camera is None else "change" if fields else "same"
        return Step(row.line, kind, row, fields, addresses, site, group)

    def _site(self, row: Row) -> str:
        """The row's site, or the one that has the only camera of this name, or the default."""
        homes = [site for site, name in self._by_name if name == row.name]
        site = row.site or (homes[0] if len(homes) == 1 else self._defaults.site)
        if not site:
            raise _Refused(_("“%(name)s” names no site. Fill the column, or choose one for all."), name=row.name)
        known = self._sites.get(site) or self.new_sites.get(site)
        if known and row.time_zone and row.time_zone != known:
            raise _Refused(
                _("“%(name)s” gives the site “%(site)s” another time zone than %(zone)s. Change it at the site."),
                name=row.name,
                site=site,
                zone=known,
            )
        return site

    def _make(self, row: Row, site: str, group: str) -> None:
        if site not in self._sites and site not in self.new_sites:
            self.new_sites[site] = row.time_zone or self._defaults.time_zone
        if group not in self._groups and group not in self.new_groups:
            self.new_groups.append(group)


def _by_role(row: Row, camera: Existing | None) -> dict[str, str]:
    """The row's addresses by role. One without a role is the main stream: recorded where a sub-stream is analysed."""
    addresses = {role: address for role, address in row.addresses.items() if role != "address"}
    main = row.addresses.get("address")
    if main is None:
        return addresses
    has_sub = "detect" in addresses or (camera is not None and {"detect", "record"} <= camera.addresses.keys())
    # A row has at most three addresses, so one role is free.
    roles = ("record", "view", "detect") if has_sub else ("detect",)
    return {next(role for role in roles if role not in addresses): main, **addresses}


def _given(row: Row, addresses: Mapping[str, str]) -> tuple[str, ...]:
    login = ("login",) if row.login != ("", "") else ()
    enabled = ("enabled",) if row.enabled is not None else ()
    return ("group", *addresses, *login, *enabled)


def _differing(row: Row, camera: Existing, group: str, addresses: Mapping[str, str]) -> tuple[str, ...]:
    found = ["group"] if group != camera.group else []
    found += [role for role, address in addresses.items() if camera.addresses.get(role) != address]
    if row.login != ("", "") and any(camera.logins.get(role) != row.login for role in addresses):
        found.append("login")
    if row.enabled is not None and row.enabled != camera.enabled:
        found.append("enabled")
    return tuple(found)

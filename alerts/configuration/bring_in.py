"""A configuration's text brought into the rows: compared first, then written whole or not at all.

What would happen is found by doing it and taking it back, so that what is shown is what is done. Every row is written
by the service that writes it elsewhere, with its checks; every error is told, not only the first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, time
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model as Row
from django.db.models import ProtectedError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from alerts import editing
from alerts.awaited import incomplete
from alerts.configuration.difference import Difference, compare
from alerts.configuration.entries import Key, MutingEntry, StepEntry, TakeOverEntry, drop_what_is_over
from alerts.configuration.export import WEEKDAYS, read_rows, silences
from alerts.configuration.text import Problem, Text, read
from alerts.contacts import TAKEN_OUT, clean_address, drop_contact, shown_of
from alerts.ground import stored as ground_stored
from alerts.models import (
    Contact,
    EscalationPolicy,
    Event,
    Incident,
    MaintenanceWindow,
    Recipient,
    Rota,
    RotaMember,
    RotaOverride,
    Rule,
    RuleTemplate,
    Silence,
    Team,
    TemplateOverride,
    Zone,
)
from alerts.notifiers.addresses import is_shown
from alerts.policies import StepDraft, check_policy, save_policy
from alerts.removal import remove_camera
from alerts.rules.registry import settings_naming_rules
from alerts.rules.sequence import UID
from alerts.schedule import stored
from alerts.sequences import KIND as SEQUENCE
from alerts.silences import carry_over, let_go, mark_changed
from alerts.versions import Words
from detectors.models import Deployment, Model
from detectors.plan import read_condition
from streams.addresses import allowed_pairs, check_address, own_pairs
from streams.cameras import CameraDraft, save_camera
from streams.credentials import carries_password
from streams.models import Camera, CameraGroup, SequenceCounter, Site, Source, View
from streams.problems import AddressRefused

AT_ONCE = 16
"""Name servers asked at a time."""
MUTING = ("window", "silence")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a text does, or did. Where there are ``problems`` nothing was done."""

    differences: tuple[Difference, ...] = ()
    problems: tuple[Problem, ...] = ()
    kept: Mapping[tuple[str, Key], str] = field(default_factory=dict)
    """Of what is missing in the text and was to go: why it stays, switched off."""
    state: int = 0
    """Of the configuration that it was compared with."""
    warnings: tuple[Problem, ...] = ()
    """What is written all the same, and wants somebody to look after it."""

    def having(self, what: str) -> list[Difference]:
        """The differences of one sort."""
        return [one for one in self.differences if one.what == what]


class _Stop(Exception):
    """One entry cannot be written; ``words`` say why."""

    def __init__(self, msgid: str, **params: object) -> None:
        super().__init__(msgid)
        self.words = Words(msgid, params)


def bring_in(
    text: str,
    *,
    author: AbstractBaseUser | None,
    now: datetime,
    remove: bool = False,
    try_only: bool = False,
    expected: int | None = None,
) -> Outcome:
    """Make the configuration what ``text`` says, in one transaction; all of it or, with any problem, nothing.

    ``remove``: what the text lacks goes too; what incidents or messages point at is switched off instead. ``try_only``:
    everything is taken back again. ``expected``: the state that somebody looked at; another one is refused.
    """
    wanted = read(text)
    drop_what_is_over(wanted.entries, now)
    # Names of cameras are looked up before the transaction: no writer waits for a name server.
    problems = [*wanted.problems, *_addresses_refused(wanted)]
    with transaction.atomic():
        # Both only rise, so that their sum is another one after any change.
        state = sum(map(SequenceCounter.current, (SequenceCounter.CONFIGURATION, SequenceCounter.MUTING)))
        there = read_rows(now)
        differences = compare(there, wanted.entries)
        writer = _Writer(wanted, author, now)
        if expected is not None and expected != state:
            problems.append(Problem(Words(_CHANGED)))
        if not problems:
            writer.write(differences, remove)
            problems += writer.problems
        if problems or try_only:
            transaction.set_rollback(True)
    problems.sort(key=lambda one: one.line)
    return Outcome(tuple(differences), tuple(problems), writer.kept, state, tuple(writer.warnings))


_CHANGED = gettext_noop("Somebody changed the configuration since this was shown. Look at the differences again.")


def _addresses_refused(wanted: Text) -> list[Problem]:
    kept = set(Source.objects.values_list("address", flat=True))
    asked = {
        (camera.key, address)
        for camera in wanted.entries["camera"].values()
        for address in camera.sources.values()
        if address not in kept
    }
    addresses = sorted({address for _key, address in asked})
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        found = dict(zip(addresses, pool.map(_refusal, addresses), strict=True))
    return [
        Problem(words, wanted.line_of("camera", key), "camera", key)
        for key, address in sorted(asked)
        if (words := found[address]) is not None
    ]


def _refusal(address: str) -> Words | None:
    """Why ``address`` cannot be a camera's. Asks the name server."""
    if carries_password(address):
        return Words(
            gettext_noop("An address contains a password. Enter it on the camera's own page, not in the text.")
        )
    try:
        check_address(address, allow=allowed_pairs(), own=own_pairs())
    except AddressRefused as refused:
        return Words(refused.msgid, refused.params)
    return None


class _Writer:
    """Writes entries in the order of the text. What goes wrong is noted with its entry, and the next one is tried."""

    def __init__(self, wanted: Text, author: AbstractBaseUser | None, now: datetime) -> None:
        self._wanted, self._author, self._now = wanted, author, now
        self._stirred: set[int] = set()
        """Keys of rules on what changed; they are checked and written anew when all else stands."""
        self._sequences: set[int] = set()
        """Keys of those that the text changes; what they wait for may come after them."""
        self._hopeless: set[int] = set()
        """Keys of those that could not be complete before; that is no reason to refuse the text."""
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.kept: dict[tuple[str, Key], str] = {}

    def write(self, differences: Iterable[Difference], remove: bool) -> None:
        differences = list(differences)
        self._hopeless = {sequence.pk for sequence, _problem in incomplete()}
        for one in sorted((one for one in differences if one.what in ("added", "changed")), key=self._turn):
            self._try(one, self._WRITES[one.kind])
        if remove:
            # Whoever names goes before what is named.
            for one in reversed(differences):
                if one.what == "missing":
                    self._try(one, _Writer._remove)
        self._settle()
        editing.touch()
        if any(one.kind in MUTING and (remove or one.what in ("added", "changed")) for one in differences):
            mark_changed()

    def _turn(self, one: Difference) -> tuple[bool, int]:
        """Whoever names rules comes after them: first what waits for others, then what mutes."""
        named = one.kind in ("template", "rule")
        return one.kind in MUTING, self._depth(self._entry(one), ()) if named else 0

    def _depth(self, entry: Any, trail: tuple[Any, ...]) -> int:
        """0 for a rule that waits for none, 1 for one that waits for such, and so on."""
        names = [entry.config.get(setting) for setting in settings_naming_rules(entry.kind)]
        if not names:
            return 0
        rules = self._wanted.entries["rule"]
        found = [rules[name,] for name in names if (name,) in rules]
        trail = (*trail, entry)
        return 1 + max((self._depth(one, trail) for one in found if one not in trail), default=0)

    def _try(self, one: Difference, work: Callable[[_Writer, Difference], None]) -> None:
        try:
            with transaction.atomic():
                work(self, one)
        except _Stop as stop:
            self._refuse(one.kind, one.key, stop.words)
        except editing.Refused as refused:
            self._refuse(one.kind, one.key, Words("%(text)s", {"text": refused}))
        except ValidationError as error:
            self._refuse(one.kind, one.key, Words("%(text)s", {"text": " ".join(error.messages)}))
        except IntegrityError:
            words = Words(gettext_noop("There is one of this name already, written with other capitals. Use its name."))
            self._refuse(one.kind, one.key, words)

    def _refuse(self, kind: str, key: Key, words: Words) -> None:
        self.problems.append(Problem(words, self._wanted.line_of(kind, key), kind, key))

    def _entry(self, one: Difference) -> Any:
        return self._wanted.entries[one.kind][one.key]

    # What is named

    def _site(self, one: Difference) -> None:
        entry = self._entry(one)
        columns = {name: getattr(entry, name) for name in ("time_zone", "latitude", "longitude", "contact")}
        site = Site.objects.filter(name=entry.name).first()
        if site is None:
            Site.objects.create(name=entry.name, **columns)
            return
        # Past the signal: rules go by the new clock once, when all else stands.
        Site.objects.filter(pk=site.pk).update(**columns)
        self._stir(editing.rules_in(site))

    def _group(self, one: Difference) -> None:
        CameraGroup.objects.create(name=self._entry(one).name)

    def _camera(self, one: Difference) -> None:
        entry = self._entry(one)
        site = _named(Site, gettext_noop("site"), entry.site)
        group = _named(CameraGroup, gettext_noop("camera group"), entry.group)
        camera = Camera.objects.filter(site=site, name=entry.name).first()
        draft = CameraDraft(
            name=entry.name,
            site=site,
            group=group,
            addresses=entry.sources,
            carrier=entry.carrier,
            enabled=entry.enabled,
        )
        saved = save_camera(draft, camera)
        own = ("evidence_px", "gated", "rests")
        if differing := [name for name in own if getattr(saved, name) != getattr(entry, name)]:
            for name in differing:
                setattr(saved, name, getattr(entry, name))
            saved.save(update_fields=differing)
        if camera is None:
            self._drop_view(saved)

    def _drop_view(self, camera: Camera) -> None:
        """A camera is made with a view; where the text gives it others, it is not one of them."""
        named = {key[2] for key in self._wanted.entries["view"] if key[:2] == (camera.site.name, camera.name)}
        if named:
            camera.views.exclude(name__in=named).delete()

    def _view(self, one: Difference) -> None:
        entry = self._entry(one)
        camera = _camera_of((entry.site, entry.camera))
        view = View.objects.filter(camera=camera, name=entry.name).first() or View(camera=camera, name=entry.name)
        view.masks = [[list(point) for point in mask] for mask in entry.masks]
        ground = ground_stored(entry.ground)
        if view.pk and view.ground != ground:
            # Past the signal: rules go by the new metres once, when all else stands.
            View.objects.filter(pk=view.pk).update(ground=ground)
            self._stir(editing.rules_in(view))
        view.ground = ground
        view.save()

    def _zone(self, one: Difference) -> None:
        entry = self._entry(one)
        points = [list(point) for point in entry.points]
        view = _view_of((entry.site, entry.camera, entry.view))
        zone = view.zones.filter(name=entry.name).first()
        if zone is None:
            Zone.objects.create(view=view, name=entry.name, shape=entry.shape, points=points)
            return
        Zone.objects.filter(pk=zone.pk).update(shape=entry.shape, points=points)
        self._stir(zone.rules.filter(enabled=True))

    def _deployment(self, one: Difference) -> None:
        entry = self._entry(one)
        model = Model.objects.filter(name=entry.model, version=entry.model_version).first()
        if model is None:
            raise _Stop(
                gettext_noop("The model “%(model)s” is not in this installation (there are: %(known)s). Add it first."),
                model=f"{entry.model} {entry.model_version}",
                known=", ".join(str(one) for one in Model.objects.all()[:20]) or "–",
            )
        try:
            read_condition(entry.condition)
        except ValueError as error:
            raise _Stop("%(text)s", text=error) from None
        cameras = [_camera_of(ref) for ref in entry.cameras]
        row = Deployment.objects.filter(name=entry.name).first() or Deployment(name=entry.name)
        row.model, row.pool, row.enabled, row.all_cameras = model, entry.pool, entry.enabled, entry.all_cameras
        row.condition, row.hz, row.static_regions = entry.condition, entry.hz, entry.static_regions
        row.save()
        row.cameras.set(cameras)
        self._stir(row.rules.filter(enabled=True))

    def _recipient(self, one: Difference) -> None:
        entry = self._entry(one)
        if entry.language not in (known := dict(settings.LANGUAGES)):
            raise _Stop(
                gettext_noop("“%(language)s” is no language of these screens. Choose one of %(known)s."),
                language=entry.language,
                known=", ".join(known),
            )
        row = Recipient.objects.filter(name=entry.name).first() or Recipient(name=entry.name)
        row.user = _user(entry.user)
        row.language, row.time_zone, row.active = entry.language, entry.time_zone, entry.active
        row.quiet_from, row.quiet_until = (_clock(at) for at in (entry.quiet_from, entry.quiet_until))
        row.save()
        self._contacts(row, entry.contacts)

    def _contacts(self, recipient: Recipient, entries: list[Any]) -> None:
        kept = {(row.channel, row.address): row for row in recipient.contacts.all()}
        for order, entry in enumerate(entries):
            address = clean_address(entry.channel, entry.address)
            row = kept.pop((entry.channel, shown_of(entry.channel, address)), None)
            if row is None and is_shown(address):
                raise _Stop(
                    gettext_noop("“%(address)s” is not the whole address, which is kept secret. Write it out."),
                    address=address,
                )
            if row is None:
                Contact.objects.create(recipient=recipient, channel=entry.channel, address=address, order=order)
            elif row.order != order or row.disabled_reason == TAKEN_OUT:
                if row.disabled_reason == TAKEN_OUT:
                    row.disabled_at, row.disabled_reason = None, ""
                row.order = order
                row.save()
        for row in kept.values():
            drop_contact(row, self._now)

    # What names others

    def _team(self, one: Difference) -> None:
        entry = self._entry(one)
        row = Team.objects.filter(name=entry.name).first() or Team.objects.create(name=entry.name)
        row.members.set(_recipients(entry.members))

    def _rota(self, one: Difference) -> None:
        entry = self._entry(one)
        row = Rota.objects.filter(name=entry.name).first() or Rota(name=entry.name)
        row.time_zone, row.weekday, row.holidays = entry.time_zone, WEEKDAYS.index(entry.weekday), entry.holidays
        row.hand_over_at, row.starts_on = time.fromisoformat(entry.hand_over_at), date.fromisoformat(entry.starts_on)
        row.on_holidays = _recipients([entry.on_holidays])[0] if entry.on_holidays else None
        members = _recipients(entry.members)
        row.save()
        row.places.all().delete()
        RotaMember.objects.bulk_create(
            RotaMember(rota=row, recipient=person, order=order) for order, person in enumerate(members)
        )
        self._take_overs(row, entry.taken_over)

    def _take_overs(self, rota: Rota, entries: list[TakeOverEntry]) -> None:
        """Those that are over stay; where nothing differs, so do the others, with who made them."""
        rows = rota.overrides.filter(until_at__gt=self._now).order_by("created_at", "id").select_related("recipient")
        there = [(one.recipient.name, one.from_at, one.until_at) for one in rows]
        if there == [(one.recipient, one.from_at, one.until_at) for one in entries]:
            return
        rows.delete()
        people = _recipients(one.recipient for one in entries)
        for person, one in zip(people, entries, strict=True):
            RotaOverride.objects.create(
                rota=rota,
                recipient=person,
                from_at=one.from_at,
                until_at=one.until_at,
                author=self._author,  # type: ignore[misc]
                created_at=self._now,
            )

    def _policy(self, one: Difference) -> None:
        """Also one whose people have not confirmed anything here yet: confirming is nothing that a text can do.

        That it reaches nobody until then is said.
        """
        entry = self._entry(one)
        row = EscalationPolicy.objects.filter(name=entry.name).first() or EscalationPolicy(name=entry.name)
        row.repeats = entry.repeats
        steps = [_step(step) for step in entry.steps]
        save_policy(row, steps, confirmed=False)
        try:
            check_policy(steps)
        except editing.Refused as refused:
            words = Words("%(text)s", {"text": refused})
            self.warnings.append(Problem(words, self._wanted.line_of(one.kind, one.key), one.kind, one.key))

    def _template(self, one: Difference) -> None:
        entry = self._entry(one)
        row = RuleTemplate.objects.filter(name=entry.name).first() or RuleTemplate(name=entry.name)
        row.kind, row.enabled, row.severity, row.zone_name = entry.kind, entry.enabled, entry.severity, entry.zone_name
        row.deployment = _named(Deployment, gettext_noop("deployment"), entry.deployment)
        row.config = _settings(entry.kind, entry.config)
        row.schedule = stored(entry.schedule, entry.holidays, entry.on_holidays)
        row.why_it_matters, row.procedure = entry.why_it_matters, entry.procedure
        row.policy = _policy_named(entry.policy)
        row.save()
        row.cameras.set([_camera_of(ref) for ref in entry.cameras])
        row.recipients.set(_recipients(entry.recipients))
        row.overrides.all().delete()
        for override in entry.overrides:
            _save_override(row, override)

    def _rule(self, one: Difference) -> None:
        entry = self._entry(one)
        row = Rule.objects.filter(name=entry.name).first() or Rule(name=entry.name)
        row.kind, row.enabled, row.severity = entry.kind, entry.enabled, entry.severity
        row.deployment = _named(Deployment, gettext_noop("deployment"), entry.deployment)
        row.config = _settings(entry.kind, entry.config)
        row.schedule = stored(entry.schedule, entry.holidays, entry.on_holidays)
        row.why_it_matters, row.procedure = entry.why_it_matters, entry.procedure
        row.template = (
            None if entry.template is None else _named(RuleTemplate, gettext_noop("template"), entry.template)
        )
        row.template_camera = None if entry.template_camera is None else _camera_of(entry.template_camera)
        row.policy = _policy_named(entry.policy)
        zones = [_zone_of(ref) for ref in entry.zones]
        recipients = _recipients(entry.recipients)
        editing.save_rule(row, zones=zones, author=self._author, now=self._now, recipients=recipients, alone=True)
        self._stirred.discard(row.pk)
        if row.kind == SEQUENCE:
            self._sequences.add(row.pk)

    # What mutes

    def _window(self, one: Difference) -> None:
        entry = self._entry(one)
        site = _named(Site, gettext_noop("site"), entry.site)
        row = MaintenanceWindow.objects.filter(site=site, name=entry.name).first()
        row = row or MaintenanceWindow(site=site, name=entry.name, author=self._author)  # type: ignore[misc]
        row.enabled, row.matchers = entry.enabled, _matchers(entry)
        row.schedule = stored(entry.schedule, entry.holidays, entry.on_holidays)
        try:
            carry_over(row, now=self._now)
        except ValueError as error:
            raise _Stop("%(text)s", text=error) from None

    def _silence(self, one: Difference) -> None:
        """What it means and when it begins is what it is known by: only its end can differ."""
        entry = self._entry(one)
        row = self._silences().get(one.key)
        if row is None:
            row = Silence(from_at=entry.from_at, author=self._author, matchers=_matchers(entry))  # type: ignore[misc]
        row.reason, row.until_at = entry.reason, entry.until_at
        try:
            carry_over(row, now=self._now)
        except ValueError as error:
            raise _Stop("%(text)s", text=error) from None

    def _silences(self) -> dict[Key, Silence]:
        return {entry.key: row for row, entry in silences(self._now)}

    # The end

    def _stir(self, rules: Iterable[Rule]) -> None:
        self._stirred |= {rule.pk for rule in rules}

    def _settle(self) -> None:
        """Rules that the text leaves as they are, on something that it changes."""
        for rule in Rule.objects.filter(pk__in=self._stirred, enabled=True):
            work = Difference("rule", (rule.name,), "changed")
            self._try(work, lambda writer, _one, rule=rule: writer._republish(rule))  # type: ignore[misc]
        if not self.problems:
            self._complete()

    def _complete(self) -> None:
        """Sequences of the text can be complete, and so can all others that could before."""
        for rule in Rule.objects.filter(kind=SEQUENCE):
            if rule.pk in self._sequences or (rule.enabled and rule.pk not in self._hopeless):
                work = Difference("rule", (rule.name,), "changed")
                self._try(work, lambda _writer, _one, rule=rule: _check_followed(rule))  # type: ignore[misc]

    def _republish(self, rule: Rule) -> None:
        editing.republish(rule, now=self._now, author=self._author)

    def _remove(self, one: Difference) -> None:
        if one.kind in ("view", "zone") and one.key[:2] not in self._wanted.entries["camera"]:
            return  # it goes with its camera, or stays with it
        row = self._silences().get(one.key) if one.kind == "silence" else _row(one.kind, one.key)
        if row is None:
            return
        if reason := _bound(row):
            self.kept[one.kind, one.key] = reason
            self._switch_off(row)
            return
        try:
            self._let_go(row)
        except ProtectedError:
            self.kept[one.kind, one.key] = _("others still need it")

    def _let_go(self, row: Row) -> None:
        match row:
            case Camera():
                remove_camera(row, author=self._author)
            case MaintenanceWindow() | Silence():
                let_go(row, by=self._author, now=self._now)
            case _:
                row._author = self._author  # type: ignore[attr-defined]
                row.delete()

    def _switch_off(self, row: Row) -> None:
        match row:
            case Rule() if row.enabled:
                editing.retire_rule(row)
            case Camera() if row.enabled:
                row.enabled = False
                row.save(update_fields=["enabled"])
            case Recipient() if row.active:
                row.active = False
                row.save(update_fields=["active"])

    _WRITES: Mapping[str, Callable[[_Writer, Difference], None]] = {
        "site": _site,
        "camera_group": _group,
        "camera": _camera,
        "view": _view,
        "zone": _zone,
        "deployment": _deployment,
        "recipient": _recipient,
        "team": _team,
        "rota": _rota,
        "policy": _policy,
        "template": _template,
        "rule": _rule,
        "window": _window,
        "silence": _silence,
    }


def _bound(row: Row) -> str:
    """Why ``row`` must not be deleted; empty when it may be."""
    match row:
        case Rule():
            incidents = Incident.objects.filter(rule=row).count()
            return _("%(n)d incidents came of it") % {"n": incidents} if incidents else ""
        case Camera():
            incidents = Incident.objects.filter(camera=row).count()
            held = incidents or Event.objects.filter(camera=row).exists()
            return _("%(n)d incidents happened there") % {"n": incidents} if held else ""
        case Recipient():
            told = row.alerts.count()
            return _("%(n)d messages went there") % {"n": told} if told else ""
        case Team() | Rota():
            return _("a policy tells it") if row.steps.exists() else ""
        case View():
            return _("a camera keeps its last view") if row.camera.views.count() == 1 else ""
    return ""


def _row(kind: str, key: Key) -> Row | None:
    """The row of an entry that the text lacks; None when it has gone with another one."""
    match kind:
        case "camera":
            return Camera.objects.filter(site__name=key[0], name=key[1]).first()
        case "view":
            return View.objects.filter(camera__site__name=key[0], camera__name=key[1], name=key[2]).first()
        case "zone":
            zones = Zone.objects.filter(view__camera__site__name=key[0], view__camera__name=key[1])
            return zones.filter(view__name=key[2], name=key[3]).first()
        case "window":
            return MaintenanceWindow.objects.filter(site__name=key[0], name=key[1]).first()
    rows: dict[str, type[Row]] = {
        "site": Site,
        "camera_group": CameraGroup,
        "deployment": Deployment,
        "recipient": Recipient,
        "team": Team,
        "rota": Rota,
        "policy": EscalationPolicy,
        "template": RuleTemplate,
        "rule": Rule,
    }
    found: Row | None = rows[kind]._default_manager.filter(name=key[0]).first()
    return found


# Names


def _named(rows: type[Any], what: str, name: str) -> Any:
    found = rows.objects.filter(name=name).first()
    if found is None:
        raise _Stop(
            gettext_noop("There is no %(what)s named “%(name)s”, neither here nor in the text. Add it or correct it."),
            what=_(what),
            name=name,
        )
    return found


def _camera_of(ref: tuple[str, str]) -> Camera:
    found = Camera.objects.select_related("site").filter(site__name=ref[0], name=ref[1]).first()
    if found is None:
        raise _Stop(
            gettext_noop("The site “%(site)s” has no camera named “%(name)s”. Add it or correct the name."),
            site=ref[0],
            name=ref[1],
        )
    return found


def _view_of(ref: tuple[str, str, str]) -> View:
    found = View.objects.filter(camera=_camera_of(ref[:2]), name=ref[2]).first()
    if found is None:
        raise _Stop(
            gettext_noop("The camera “%(camera)s” has no view named “%(name)s”. Add it or correct the name."),
            camera=ref[1],
            name=ref[2],
        )
    return found


def _zone_of(ref: tuple[str, str, str, str]) -> Zone:
    zones = _view_of(ref[:3]).zones.select_related("view__camera__site")
    found: Zone | None = zones.filter(name=ref[3]).first()
    if found is None:
        raise _Stop(
            gettext_noop("The camera “%(camera)s” has no zone named “%(name)s”. Add it or correct the name."),
            camera=ref[1],
            name=ref[3],
        )
    return found


def _recipients(names: Iterable[str]) -> list[Recipient]:
    return [_named(Recipient, gettext_noop("recipient"), name) for name in names]


def _policy_named(name: str | None) -> EscalationPolicy | None:
    return _named(EscalationPolicy, gettext_noop("escalation policy"), name) if name else None


def _step(entry: StepEntry) -> StepDraft:
    return StepDraft(
        recipients=_recipients(entry.recipients),
        teams=[_named(Team, gettext_noop("team"), name) for name in entry.teams],
        rotas=[_named(Rota, gettext_noop("rota"), name) for name in entry.rotas],
        channels=entry.channels,
        wait_s=entry.wait_s,
    )


def _check_followed(rule: Rule) -> None:
    editing.check_followed(rule, zones=list(rule.zones.select_related("view__camera")))


def _settings(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as rows keep them: other rules by their uid."""
    named = {one: config[one] for one in settings_naming_rules(kind) if one in config}
    return dict(config) | {one: str(_rule_named(name).uid) for one, name in named.items()}


def _rule_named(name: str) -> Rule:
    """Older texts say its uid."""
    found = Rule.objects.filter(uid=name).first() if re.fullmatch(UID, name) else None
    rule: Rule = found or _named(Rule, gettext_noop("rule"), name)
    return rule


def _matchers(entry: MutingEntry) -> dict[str, Any]:
    """What an entry means, as a silence or a window keeps it; of what is named nowhere, nothing."""
    meant = {
        "sites": [str(_named(Site, gettext_noop("site"), name).uid) for name in entry.sites],
        "cameras": [str(_camera_of(ref).uid) for ref in entry.cameras],
        "rules": [str(_rule_named(name).uid) for name in entry.rules],
        "labels": entry.labels,
        "severities": entry.severities,
    }
    return {name: found for name, found in meant.items() if found}


def _clock(text: str | None) -> time | None:
    return time.fromisoformat(text) if text else None


def _user(name: str) -> Any:
    if not name:
        return None
    found = get_user_model().objects.filter(username=name).first()
    if found is None:
        raise _Stop(
            gettext_noop("Nobody here logs in as “%(name)s”. Add the person first, or leave out “user”."), name=name
        )
    return found


def _save_override(template: RuleTemplate, entry: Any) -> None:
    changes = dict(entry.changes)
    if "recipients" in changes:
        changes["recipients"] = [str(one.uid) for one in _recipients(changes["recipients"])]
    if "deployment" in changes:
        changes["deployment"] = str(_named(Deployment, gettext_noop("deployment"), changes["deployment"]).uid)
    if "policy" in changes:
        policy = _policy_named(changes["policy"])
        changes["policy"] = str(policy.uid) if policy else ""
    if "config" in changes:
        changes["config"] = _settings(template.kind, changes["config"])
    TemplateOverride.objects.create(
        template=template,
        site=_named(Site, gettext_noop("site"), entry.site) if entry.site else None,
        group=_named(CameraGroup, gettext_noop("camera group"), entry.group) if entry.group else None,
        camera=_camera_of(entry.camera) if entry.camera else None,
        changes=changes,
    )

"""What an edit means for the engine: a new rule version and its demand, in one transaction, or a refusal.

A rule that could never fire is refused with the reason and the remedy; what runs is never half edited; and every edit
of the configuration advances ``CONFIGURATION``, which each process asks for once a second.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, cast

import msgspec
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from alerts.awaited import Part, Standing, starved_by
from alerts.events import SEVERITIES, Severity
from alerts.ground import BadGround, Ground, Plane, check_ground, stored
from alerts.models import Recipient, Rule, RuleVersion, Zone
from alerts.rules.config import CommonConfig, EmbeddedRule, EmbeddedZone, Needs, Schedule
from alerts.rules.counting import CountingConfig
from alerts.rules.lines import LineConfig, has_two_sides
from alerts.rules.registry import BadConfig, read_config
from alerts.schedule import check_schedule, follows_sun
from alerts.versions import Beside, Told
from alerts.zones import BadPoints, check_points
from detectors.labels import expand
from detectors.models import Deployment
from streams.ids import new_uid
from streams.models import Camera, Demand, SequenceCounter, Site, View

LARGEST = 1e9
"""No setting of any kind needs more; a larger number is a slip of the finger."""


class Refused(ValueError):
    """An edit is refused. The text is a plain sentence with the remedy; ``field`` names the form field, or is empty."""

    def __init__(self, text: str, *, field: str = "") -> None:
        super().__init__(text)
        self.field = field


class _Kind(Protocol):
    """What editing needs of a kind's config beyond the common settings."""

    def needs(self) -> Needs: ...


def touch() -> int:
    """Tell every process that the configuration changed. Call it in the edit's own transaction."""
    return SequenceCounter.advance(SequenceCounter.CONFIGURATION)


# Refusals: each check passes in silence or raises ``Refused``.


def check_rule(rule: Rule, *, zones: Sequence[Zone]) -> CommonConfig:
    """The settings of ``rule`` when it can fire on ``zones``, and whatever waits for it still can.

    Raises ``Refused``; writes nothing.
    """
    config = check_alone(rule, zones=zones)
    check_followed(rule, zones=zones)
    check_awaited([(rule, zones)])
    return config


def check_alone(rule: Rule, *, zones: Sequence[Zone]) -> CommonConfig:
    """The settings of ``rule`` when it can fire on ``zones``, whatever becomes of other rules. Raises ``Refused``."""
    _check_name(rule)
    config = _read_config(rule)
    _check_effect(config)
    _check_zones(zones, config)
    _check_ground(zones, config)
    _read_schedule(rule, zones)
    if isinstance(config, CountingConfig):
        _check_turns(config, zones)
    if isinstance(config, LineConfig):
        _check_lines(config, zones)
    if rule.enabled:
        check_deployment(rule.deployment, [zone.view.camera for zone in zones], sought=config.sought)
    return config


def check_followed(rule: Rule, *, zones: Sequence[Zone]) -> None:
    """What ``rule`` waits for, where it is a sequence, can make it complete. Raises ``Refused``."""
    if (problem := Standing([(rule, zones)]).problem(rule)) is not None:
        raise Refused(problem.text, field=problem.field)


def check_awaited(changed: Collection[Part]) -> None:
    """Once ``changed`` is so, every sequence that can be complete now still can. Raises ``Refused``."""
    for sequence in starved_by(changed):
        awaited = Standing(changed).awaited_by(sequence) - {sequence.uid}
        names = ", ".join(rule.name for rule, _zones in changed if rule.uid in awaited)
        raise Refused(
            _(
                "The sequence “%(sequence)s” waits for “%(rule)s” and could never be complete any more. Change the "
                "sequence or switch it off first."
            )
            % {"sequence": sequence.name, "rule": names or sequence.name}
        )


def check_settings(rule: Rule) -> CommonConfig:
    """Kind, settings and spans of ``rule``, wherever it is to run. Raises ``Refused``."""
    config = _read_config(rule)
    _check_effect(config)
    _read_spans(rule.schedule, [])
    return config


def check_zone(zone: Zone) -> None:
    """The geometry of ``zone``, and that every enabled rule on it can still fire. Raises ``Refused``."""
    check_geometry(zone)
    if zone.pk:
        changed: list[Part] = []
        for rule in zone.rules.filter(enabled=True):
            zones = [*rule.zones.exclude(pk=zone.pk).select_related("view__camera__site"), zone]
            check_alone(rule, zones=zones)
            changed.append((rule, zones))
        check_awaited(changed)


Place = Site | Camera | View
"""What a zone lies in. A rule's version embeds the site's clock, the camera, and the view with its ground."""


def rules_in(place: Place) -> QuerySet[Rule]:
    """The enabled rules that have a zone in ``place``."""
    rules = Rule.objects.filter(enabled=True)
    match place:
        case Site():
            found = rules.filter(zones__view__camera__site=place)
        case Camera():
            found = rules.filter(zones__view__camera=place)
        case View():
            found = rules.filter(zones__view=place)
    return found.distinct()


def check_place(place: Place) -> None:
    """A change of ``place``, not yet saved, leaves every enabled rule in it able to fire. Raises ``Refused``."""
    changed: list[Part] = []
    for rule in rules_in(place):
        zones = list(rule.zones.select_related("view__camera__site"))
        for zone in zones:
            _put(zone, place)
        try:
            check_alone(rule, zones=zones)
        except Refused as refused:
            raise Refused(
                _("The rule “%(rule)s” depends on it: %(problem)s") % {"rule": rule, "problem": refused}
            ) from None
        changed.append((rule, zones))
    check_awaited(changed)


def _put(zone: Zone, place: Place) -> None:
    """Let ``zone`` see ``place`` as it is to become, in memory only."""
    view = zone.view
    if isinstance(place, View) and place.pk == view.pk:
        zone.view = place
    elif isinstance(place, Camera) and place.pk == view.camera_id:
        view.camera = place
    elif isinstance(place, Site) and place.pk == view.camera.site_id:
        view.camera.site = place


def check_geometry(zone: Zone) -> None:
    """The corners of ``zone`` fit its shape and lie within the picture. Raises ``Refused``."""
    if zone.shape not in Zone.Shape.values:
        raise Refused(_("The shape must be a polygon, a directed line or a mask."), field="shape")
    try:
        check_points(zone.points, zone.shape)
    except BadPoints as error:
        problem = _(error.msgid) % error.params
        raise Refused(
            _("Zone “%(zone)s”: %(problem)s") % {"zone": zone.name, "problem": problem}, field="points"
        ) from None


def check_deployment(
    deployment: Deployment,
    cameras: Iterable[Camera],
    *,
    sought: Mapping[str, Collection[str]],
    covered: Collection[int] | None = None,
) -> None:
    """``deployment`` gives all labels that are ``sought`` (``CommonConfig.sought``) on ``cameras``.

    ``covered``: ids of its cameras when they are just being changed.

    Raises ``Refused`` with the camera or the label that it cannot serve.
    """
    if not deployment.enabled:
        raise Refused(
            _("The deployment “%(deployment)s” is switched off, so the rule could never fire. Enable it first.")
            % {"deployment": deployment},
            field="deployment",
        )
    for camera in cameras:
        if not covers(deployment, camera, covered):
            raise Refused(
                _("The deployment “%(deployment)s” does not run on camera “%(camera)s”. Add the camera to it first.")
                % {"deployment": deployment, "camera": camera},
                field="deployment",
            )
    for setting, labels in sought.items():
        _check_labels(deployment, labels, setting)


def covers(deployment: Deployment, camera: Camera, covered: Collection[int] | None = None) -> bool:
    """Whether ``deployment`` runs on ``camera``."""
    if deployment.all_cameras:
        return True
    if covered is not None:
        return camera.pk in covered
    return deployment.cameras.filter(pk=camera.pk).exists()


def check_starved(deployment: Deployment, *, covered: Collection[int] | None = None) -> None:
    """A change of ``deployment``, not yet saved, leaves every enabled rule on it able to fire. Raises ``Refused``."""
    for rule in Rule.objects.filter(deployment_id=deployment.pk, enabled=True):
        cameras = Camera.objects.filter(views__zones__rules=rule).distinct()
        try:
            check_deployment(deployment, cameras, sought=_read_config(rule).sought, covered=covered)
        except Refused as refused:
            raise Refused(
                _("The rule “%(rule)s” depends on it: %(problem)s") % {"rule": rule, "problem": refused}
            ) from None


def _check_name(rule: Rule) -> None:
    if not rule.name.strip():
        raise Refused(_("The rule needs a name, for example “Person in the dock lane”."), field="name")
    if Rule.objects.filter(name__iexact=rule.name.strip()).exclude(pk=rule.pk).exists():
        raise Refused(
            _("There is a rule named “%(name)s” already. Choose another name.") % {"name": rule.name}, field="name"
        )
    if rule.severity not in SEVERITIES:
        raise Refused(_("The severity must be one of %(known)s.") % {"known": ", ".join(SEVERITIES)}, field="severity")


def _read_config(rule: Rule) -> CommonConfig:
    for name, value in _numbers(rule.config):
        if not math.isfinite(value) or abs(value) > LARGEST:
            raise Refused(
                _("“%(setting)s” must be an ordinary number, not %(value)s.") % {"setting": name, "value": value},
                field=name,
            )
    try:
        config = read_config(rule.kind, rule.config)
    except BadConfig as error:
        raise Refused(str(error), field=_field_of(str(error))) from None
    if config.confirm_k > config.confirm_n:
        raise Refused(
            _("It cannot be seen in %(k)s of the last %(n)s pictures. Lower the first number or raise the second.")
            % {"k": config.confirm_k, "n": config.confirm_n},
            field="confirm_k",
        )
    return config


def _check_effect(config: CommonConfig) -> None:
    try:
        config.check_effect()
    except ValueError as error:
        raise Refused(str(error), field=str(error).partition(":")[0]) from None


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in plain ``value`` with the name of the top setting it stands under."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, name or str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def _field_of(message: str) -> str:
    """The setting that a message names: msgspec's (``… - at `$.hold_s` ``), or ours (``presence: min_height: …``)."""
    _head, at, tail = message.partition("`$.")
    if at:
        return tail.split("`")[0].split("[")[0].split(".")[0]
    _kind, *found = message.split(": ")
    return found[0] if len(found) > 1 and found[0].isidentifier() else ""


def _check_zones(zones: Sequence[Zone], config: CommonConfig) -> None:
    if not zones:
        raise Refused(_("The rule needs at least one zone. Draw one on a camera's view first."), field="zones")
    if all(zone.shape == Zone.Shape.EXCLUSION for zone in zones):
        raise Refused(_("The rule has nothing but masks, so it could never fire. Choose a zone too."), field="zones")
    shapes = getattr(config, "shapes", ("polygon",))
    for zone in zones:
        check_geometry(zone)
        if zone.shape not in (*shapes, Zone.Shape.EXCLUSION):
            raise Refused(
                _("Zone “%(zone)s” is a %(shape)s, which this kind of rule cannot use. Choose another zone.")
                % {"zone": zone.name, "shape": zone.get_shape_display()},
                field="zones",
            )


def _check_ground(zones: Sequence[Zone], config: CommonConfig) -> None:
    """Settings in metres or km/h need a view that is calibrated as far as the zone reaches."""
    for setting in config.on_ground:
        for zone in zones:
            if problem := _unmeasured(zone):
                raise Refused(problem, field=setting)


def _unmeasured(zone: Zone) -> str:
    """Why there are no metres in ``zone``; empty where there are."""
    ground = _ground_of(zone.view)
    if ground is None:
        return _(
            "The ground of “%(view)s” is not calibrated, so metres and km/h are not known there. Calibrate it on the "
            "camera's page, or leave this empty."
        ) % {"view": zone.view}
    if zone.shape != Zone.Shape.EXCLUSION and None in map(Plane.of(ground).at, check_points(zone.points, zone.shape)):
        return _(
            "Zone “%(zone)s” reaches farther than the calibrated ground can measure. Draw it nearer, or calibrate a "
            "rectangle that reaches farther."
        ) % {"zone": zone.name}
    return ""


def _ground_of(view: View) -> Ground | None:
    """The stored calibration. Raises ``Refused`` for one that measures nothing."""
    if view.ground is None:
        return None
    try:
        return check_ground(view.ground)
    except BadGround as bad:
        problem = _(bad.msgid) % bad.params
        raise Refused(
            _("Ground of “%(view)s”: %(problem)s") % {"view": view, "problem": problem}, field="ground"
        ) from None


def _check_turns(config: CountingConfig, zones: Sequence[Zone]) -> None:
    """A turn goes from one line to another on the same camera."""
    lines = Counter(zone.view.camera for zone in zones if zone.shape == Zone.Shape.LINE)
    for camera in (camera for camera, count in lines.items() if config.turns and count < 2):
        raise Refused(
            _("There is one line on “%(camera)s”, and a turn needs two. Choose another line there, or count no turns.")
            % {"camera": camera},
            field="turns",
        )


def _check_lines(config: LineConfig, zones: Sequence[Zone]) -> None:
    """A line over which something can go has picture on both sides of its band."""
    for zone in zones:
        if zone.shape == Zone.Shape.LINE and not has_two_sides(check_points(zone.points, zone.shape), config.band):
            raise Refused(
                _(
                    "Line “%(zone)s” lies at the edge of the picture: nothing is seen more than %(band)g picture "
                    "heights (the band) away on both its sides, so nothing could ever go over it. Draw it farther in."
                )
                % {"zone": zone.name, "band": config.band},
                field="zones",
            )


def _check_labels(deployment: Deployment, labels: Collection[str], setting: str) -> None:
    given = set(deployment.labels)
    for label in labels:
        try:
            terms = set(expand(label))
        except (KeyError, ValueError):
            raise Refused(
                _("“%(label)s” is not a label. Choose one that the model gives: %(known)s.")
                % {"label": label, "known": ", ".join(sorted(given))},
                field=setting,
            ) from None
        if not terms & given:
            raise Refused(
                _("The model “%(model)s” never reports “%(label)s”. Choose one that it gives: %(known)s.")
                % {"model": deployment.model, "label": label, "known": ", ".join(sorted(given)) or "–"},
                field=setting,
            )


def _read_schedule(rule: Rule, zones: Sequence[Zone]) -> Schedule:
    clocks = {zone.view.camera.site.time_zone for zone in zones}
    if rule.schedule and len(clocks) > 1:
        raise Refused(
            _("The zones lie in different time zones (%(clocks)s). Make one rule for each site.")
            % {"clocks": ", ".join(sorted(clocks))},
            field="zones",
        )
    return _read_spans(rule.schedule, [zone.view.camera.site for zone in zones])


def _read_spans(spans: Any, sites: Sequence[Site]) -> Schedule:
    try:
        # A list holds spans and nothing else; an object may have holidays beside them.
        stored = {"spans": spans} if isinstance(spans, list) else spans
        schedule = msgspec.convert(stored, Schedule)
        if not sites:
            # Of no place yet: when the sun rises there is not known.
            return schedule if follows_sun(schedule) else _checked(schedule)
        return _checked(place_schedule(schedule, sites))
    except ValueError as error:  # msgspec.ValidationError is one
        raise Refused(_("Schedule: %(problem)s") % {"problem": error}, field="schedule") from None


def _checked(schedule: Schedule) -> Schedule:
    check_schedule(schedule)
    return schedule


def place_schedule(schedule: Schedule, sites: Sequence[Site]) -> Schedule:
    """``schedule`` on the clock of ``sites`` and, where it names the sun, at their place on the map.

    Raises ``ValueError`` when they see the sun at different times.
    """
    placed = msgspec.structs.replace(
        schedule, time_zone=min(site.time_zone for site in sites), latitude=None, longitude=None
    )
    if not follows_sun(placed):
        return placed
    places = {(site.latitude, site.longitude) for site in sites}
    if len(places) > 1:
        raise ValueError(_("The zones lie at sites with different sunsets. Make one rule for each site."))
    latitude, longitude = places.pop()
    return msgspec.structs.replace(placed, latitude=latitude, longitude=longitude)


# Edits: each is one transaction.


def save_rule(
    rule: Rule,
    *,
    zones: Sequence[Zone],
    author: AbstractBaseUser | None,
    now: datetime,
    recipients: Iterable[Recipient] | None = None,
    alone: bool = False,
) -> RuleVersion:
    """Write ``rule``, what runs of it, and what that needs, in one transaction. Raises ``Refused``.

    ``recipients``: who is told from now on; None leaves them. Whatever changed makes a new version; where that is
    nothing that the engine reads (words, who is told), its state lives on. Where nothing did, the newest is returned. A
    disabled rule's version acts in no time at all: [now, now). ``alone``: whatever becomes of sequences, for what
    follows from another edit, or is one of many that are looked at together in the end.
    """
    config = check_alone(rule, zones=zones) if alone else check_rule(rule, zones=zones)
    with transaction.atomic():
        rule.name = rule.name.strip()
        rule.config = msgspec.to_builtins(config)
        rule.save()
        rule.zones.set(zones)
        if recipients is not None:
            rule.recipients.set(recipients)
        version = _new_version(rule, zones, author, now)
        write_demand(rule)
        touch()
    return version


def retire_rule(rule: Rule) -> None:
    """Stop ``rule`` for good reasons of others (its last zone is gone): nothing of it runs or is wanted any more."""
    with transaction.atomic():
        Rule.objects.filter(pk=rule.pk).update(enabled=False)
        rule.enabled = False
        _end_version(rule)
        write_demand(rule)
        touch()


def save_zone(zone: Zone, *, author: AbstractBaseUser | None = None) -> None:
    """Write ``zone``; the rules on it get new versions by ``author`` (``alerts.signals``). Raises ``Refused``."""
    check_zone(zone)
    zone._author = author  # type: ignore[attr-defined]
    with transaction.atomic():
        zone.save()


def save_ground(view: View, ground: Any | None, *, author: AbstractBaseUser | None = None) -> None:
    """Calibrate the ground of ``view`` (None: take the calibration away); the rules there get versions by ``author``.

    Raises ``Refused`` with the field (points, width_m, depth_m), or where a rule there could not fire any more.
    """
    try:
        view.ground = None if ground is None else stored(check_ground(ground))
    except BadGround as bad:
        raise Refused(_(bad.msgid) % bad.params, field=bad.field) from None
    check_place(view)
    view._author = author  # type: ignore[attr-defined]
    with transaction.atomic():
        view.save()


def republish(rule: Rule, *, now: datetime, author: AbstractBaseUser | None = None) -> None:
    """Something that a version of ``rule`` embeds changed: bring what runs in step. Raises ``Refused``."""
    zones = list(rule.zones.select_related("view__camera__site"))
    if all(zone.shape == Zone.Shape.EXCLUSION for zone in zones):
        retire_rule(rule)
    elif rule.enabled:
        save_rule(rule, zones=zones, author=author, now=now, alone=True)


def write_demand(rule: Rule) -> None:
    """Make the demand rows of ``rule`` what its version in force needs: one a camera, none when nothing may run."""
    Demand.objects.filter(wanted_by__in=rule.versions.values("uid")).delete()
    version = rule.versions.filter(active_until_at__isnull=True).first()
    deployment = rule.deployment
    if version is None or not deployment.enabled:
        return
    needs = cast(_Kind, _read_config(rule)).needs()
    cameras = Camera.objects.filter(views__zones__rules=rule).distinct()
    Demand.objects.bulk_create(
        Demand(
            camera=camera,
            wanted_by=version.uid,
            pool=deployment.pool,
            width_px=needs.width_px,
            hz=min(needs.hz, deployment.hz),
            every_frame=needs.every_frame,
            unbroken=needs.unbroken,
            severity=SEVERITIES.index(cast(Severity, rule.severity)),
        )
        for camera in cameras
        if covers(deployment, camera)
    )


def _new_version(rule: Rule, zones: Sequence[Zone], author: AbstractBaseUser | None, now: datetime) -> RuleVersion:
    newest = rule.versions.order_by("-number").first()
    embedded, beside = _embed(rule, zones, now), _beside(rule)
    plain = msgspec.to_builtins(embedded)
    lives_on = newest is not None and _same(newest, embedded) and (newest.active_until_at is None) == rule.enabled
    if newest is not None and lives_on:
        # Read, so that what came later stands in it as it was then.
        if newest.beside and msgspec.convert(newest.beside, Beside) == beside:
            return newest
        plain = newest.embedded
    _end_version(rule, now)
    return RuleVersion.objects.create(
        uid=new_uid() if lives_on else embedded.version,
        rule=rule,
        number=newest.number + 1 if newest else 1,
        kind=rule.kind,
        severity=rule.severity,
        deployment=embedded.deployment,
        embedded=plain,
        beside=msgspec.to_builtins(beside),
        author=cast(Any, author),
        active_from_at=now,
        active_until_at=None if rule.enabled else now,
    )


def _embed(rule: Rule, zones: Sequence[Zone], now: datetime) -> EmbeddedRule:
    return EmbeddedRule(
        rule=rule.uid,
        version=new_uid(),
        name=rule.name,
        kind=rule.kind,
        severity=cast(Severity, rule.severity),
        deployment=rule.deployment.uid,
        zones=[
            EmbeddedZone(
                uid=zone.uid,
                camera=zone.view.camera.uid,
                view=zone.view.uid,
                name=zone.name,
                shape=cast(Any, zone.shape),
                points=check_points(zone.points, zone.shape),
                ground=_ground_of(zone.view),
            )
            for zone in sorted(zones, key=lambda zone: zone.uid)
        ],
        schedule=_read_schedule(rule, zones),
        active_from_at=now,
        config=rule.config,
    )


def _beside(rule: Rule) -> Beside:
    return Beside(
        name=rule.name,
        enabled=rule.enabled,
        why_it_matters=rule.why_it_matters,
        procedure=rule.procedure,
        told=sorted(Told(name, str(uid)) for name, uid in rule.recipients.values_list("name", "uid")),
        policy=rule.policy.name if rule.policy else "",
    )


def draft_version(rule: Rule, *, zones: Sequence[Zone], now: datetime) -> EmbeddedRule:
    """What saving ``rule`` would let run, as an unsaved version of its own. Raises ``Refused``; writes nothing."""
    rule.config = msgspec.to_builtins(check_rule(rule, zones=zones))
    return _embed(rule, zones, now)


def _same(newest: RuleVersion, embedded: EmbeddedRule) -> bool:
    """Whether ``newest`` already says what ``embedded`` does, its own name and dates aside."""
    aside = {"version", "active_from_at", "active_until_at"}
    plain = msgspec.json.decode(msgspec.json.encode(embedded))
    try:
        # Read and written again, so that a setting that came later stands in it with its default.
        read = msgspec.convert(newest.embedded, EmbeddedRule)
        config = msgspec.to_builtins(read_config(read.kind, read.config))
        known = msgspec.json.decode(msgspec.json.encode(msgspec.structs.replace(read, config=config)))
    except (msgspec.ValidationError, BadConfig):
        return False
    return {k: v for k, v in known.items() if k not in aside} == {k: v for k, v in plain.items() if k not in aside}


def _end_version(rule: Rule, now: datetime | None = None) -> None:
    rule.versions.filter(active_until_at__isnull=True).update(active_until_at=now or timezone.now())

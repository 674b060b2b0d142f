"""Templates applied: one ordinary rule for each camera, so that what runs needs to know nothing of templates.

What would change is found by doing it and taking it back. Rules that come out as they are get no new version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext as _

from alerts.editing import Refused, draft_version, save_rule
from alerts.history import said_by
from alerts.models import EscalationPolicy, Recipient, Rule, RuleTemplate, TemplateOverride, Zone
from alerts.overrides import resolve, rule_name
from alerts.rules.config import EmbeddedRule
from alerts.versions import Change, changes
from detectors.models import Deployment
from streams.models import Camera, SequenceCounter

What = Literal["new", "changed", "same", "needs_zone", "refused", "ends"]


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one camera's rule. ``reason``: why it is refused, or the zone that it needs."""

    camera: Camera
    what: What
    name: str = ""
    changes: Sequence[Change] = ()
    reason: str = ""
    overrides: int = 0
    """How many hold there."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying does, or did. With anything ``refused`` nothing was done."""

    steps: tuple[Step, ...]
    state: int
    """Of the configuration that was looked at."""

    def having(self, what: str) -> list[Step]:
        """The steps of one sort."""
        return [step for step in self.steps if step.what == what]

    @property
    def doable(self) -> bool:
        """Whether applying would do something."""
        return not self.having("refused") and any(step.what in ("new", "changed", "ends") for step in self.steps)


def values_of(template: RuleTemplate) -> dict[str, Any]:
    """What a template says, as ``alerts.overrides`` takes it."""
    return {
        **_what_runs(template),
        "policy": str(template.policy.uid) if template.policy else "",
        "recipients": sorted(str(uid) for uid in template.recipients.values_list("uid", flat=True)),
    }


def _what_runs(template: RuleTemplate) -> dict[str, Any]:
    """The part that needs no stored template."""
    plain = ("enabled", "severity", "zone_name", "schedule", "why_it_matters", "procedure", "config")
    return {**{name: getattr(template, name) for name in plain}, "deployment": str(template.deployment.uid)}


def draft_on(template: RuleTemplate, camera: Camera, *, now: datetime) -> EmbeddedRule:
    """What applying ``template``, saved or not, would let run on ``camera``, with what differs there.

    An unsaved version; nothing is written. Raises ``Refused`` where it could not fire or the camera lacks the zone.
    """
    stored = template.pk is not None
    overrides = overrides_for(camera, list(template.overrides.all()) if stored else [])
    values = resolve(_what_runs(template), (one.changes for one in overrides))
    zones = zones_named(camera, values["zone_name"])
    if not zones:
        raise Refused(
            _("“%(camera)s” has no zone named “%(zone)s”. Draw it there, or rehearse on another camera.")
            % {"camera": camera.name, "zone": values["zone_name"]}
        )
    deployment = Deployment.objects.select_related("model").filter(uid=values["deployment"]).first()
    if deployment is None:
        raise Refused(_("The deployment of this override is gone. Choose another one there."))
    known = template.rules.filter(template_camera=camera).first() if stored else None
    rule = known or Rule()
    taken = {name.lower() for name in Rule.objects.exclude(pk=rule.pk).values_list("name", flat=True)}
    rule.name = rule_name(template.name, camera.name, camera.site.name, taken)
    rule.kind, rule.deployment = template.kind, deployment
    for name in ("enabled", "severity", "schedule", "config"):
        setattr(rule, name, values[name])
    return draft_version(rule, zones=zones, now=now)


def zones_named(camera: Camera, name: str) -> list[Zone]:
    """The zones of that name on ``camera``."""
    return list(Zone.objects.select_related("view__camera__site").filter(view__camera=camera, name=name))


def overrides_for(camera: Camera, overrides: Sequence[TemplateOverride]) -> list[TemplateOverride]:
    """Those that hold on ``camera``, the widest place first."""
    return [
        one
        for column, key in (("site_id", camera.site_id), ("group_id", camera.group_id), ("camera_id", camera.pk))
        for one in overrides
        if getattr(one, column) == key
    ]


def apply_template(
    template: RuleTemplate,
    *,
    author: AbstractBaseUser | None,
    now: datetime,
    try_only: bool = False,
    expected: int | None = None,
) -> Applied:
    """Make the rules of ``template``'s cameras what it says, in one transaction.

    A camera without the zone is told and left out; one whose rule could not fire stops everything. Rules of cameras
    that are not among its own any more are switched off. ``expected``: the state that somebody looked at; raises
    ``Refused`` where it is another by now.
    """
    with transaction.atomic():
        state = SequenceCounter.current(SequenceCounter.CONFIGURATION)
        if expected is not None and expected != state:
            raise Refused(_("Somebody changed the configuration since this was shown. Look at it again."))
        maker = _Maker(template, author, now)
        steps = maker.steps()
        if try_only or any(step.what == "refused" for step in steps):
            transaction.set_rollback(True)
    return Applied(tuple(steps), state)


class _Maker:
    def __init__(self, template: RuleTemplate, author: AbstractBaseUser | None, now: datetime) -> None:
        self._template, self._author, self._now = template, author, now
        self._values = values_of(template)
        self._overrides = list(template.overrides.all())
        self._rules = {rule.template_camera_id: rule for rule in template.rules.select_related("template_camera__site")}
        self._recipients = {str(one.uid): one for one in Recipient.objects.all()}
        self._deployments = {str(one.uid): one for one in Deployment.objects.select_related("model")}
        self._policies = {str(one.uid): one for one in EscalationPolicy.objects.all()}
        own = [rule.pk for rule in self._rules.values()]
        self._taken = {name.lower() for name in Rule.objects.exclude(pk__in=own).values_list("name", flat=True)}

    def steps(self) -> list[Step]:
        cameras = list(self._template.cameras.select_related("site", "group").order_by("site__name", "name"))
        found = [self._step(camera) for camera in cameras]
        here = {camera.pk for camera in cameras}
        gone = [rule for key, rule in self._rules.items() if key not in here and rule.enabled]
        return found + [step for rule in gone if (step := self._end(rule)) is not None]

    def _step(self, camera: Camera) -> Step:
        overrides = overrides_for(camera, self._overrides)
        values = resolve(self._values, (one.changes for one in overrides))
        count = len(overrides)
        zones = zones_named(camera, values["zone_name"])
        if not zones:
            return Step(camera, "needs_zone", reason=values["zone_name"], overrides=count)
        rule = self._rules.get(camera.pk) or Rule(template=self._template, template_camera=camera)
        try:
            with transaction.atomic():
                return self._write(rule, camera, values, zones, count)
        except Refused as refused:
            return Step(camera, "refused", reason=str(refused), overrides=count)

    def _write(self, rule: Rule, camera: Camera, values: Mapping[str, Any], zones: list[Zone], count: int) -> Step:
        before = self._newest(rule)
        self._fill(rule, camera, values)
        told = [self._recipients[uid] for uid in values["recipients"] if uid in self._recipients]
        version = save_rule(rule, zones=zones, author=self._author, now=self._now, recipients=told)
        self._taken.add(rule.name.lower())
        if before is None:
            return Step(camera, "new", rule.name, overrides=count)
        if before.pk == version.pk:
            return Step(camera, "same", rule.name, overrides=count)
        version.refresh_from_db()
        names = {uid: one.name for uid, one in self._deployments.items()}
        found = changes(said_by(before, names), said_by(version, names))
        return Step(camera, "changed", rule.name, found, overrides=count)

    def _newest(self, rule: Rule) -> Any:
        return rule.versions.order_by("-number").first() if rule.pk else None

    def _fill(self, rule: Rule, camera: Camera, values: Mapping[str, Any]) -> None:
        deployment = self._deployments.get(values["deployment"])
        if deployment is None:
            raise Refused(_("The deployment of this override is gone. Choose another one there."))
        if values["policy"] and values["policy"] not in self._policies:
            raise Refused(_("The escalation policy of this override is gone. Choose another one there."))
        rule.name = rule_name(self._template.name, camera.name, camera.site.name, self._taken)
        rule.kind, rule.deployment = self._template.kind, deployment
        rule.policy = self._policies.get(values["policy"])
        for name in ("enabled", "severity", "schedule", "why_it_matters", "procedure", "config"):
            setattr(rule, name, values[name])

    def _end(self, rule: Rule) -> Step | None:
        """Its camera is not one of the template's any more."""
        if rule.template_camera is None:
            return None
        rule.enabled = False
        zones = list(rule.zones.select_related("view__camera__site"))
        try:
            save_rule(rule, zones=zones, author=self._author, now=self._now)
        except Refused as refused:
            return Step(rule.template_camera, "refused", rule.name, reason=str(refused))
        return Step(rule.template_camera, "ends", rule.name)


def save_override(template: RuleTemplate, place: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Write what differs at ``place`` (``site``, ``group`` or ``camera`` → row); where nothing does, none stays."""
    if values:
        TemplateOverride.objects.update_or_create(template=template, **place, defaults={"changes": dict(values)})
    else:
        TemplateOverride.objects.filter(template=template, **place).delete()


def override_content(override: TemplateOverride) -> list[Change]:
    """What it changes of its template, field by field."""
    template = override.template
    base = values_of(template) | {"kind": template.kind}
    after = resolve(base, [override.changes])
    return changes(_shown(base), _shown(after))


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """With names in place of uids."""
    told = Recipient.objects.filter(uid__in=[UUID(uid) for uid in values["recipients"]])
    deployment = Deployment.objects.filter(uid=values["deployment"]).first()
    policy = EscalationPolicy.objects.filter(uid=values["policy"]).first() if values["policy"] else None
    named = {"deployment": str(deployment or "–"), "policy": policy.name if policy else None}
    return {**values, **named, "told": sorted(one.name for one in told)}

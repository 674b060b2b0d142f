"""A rule's versions with what changed in each, and the way back to one: a new version with the old content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

import msgspec
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.utils.translation import gettext as _

from alerts.editing import Refused, republish, save_rule
from alerts.models import EscalationPolicy, Recipient, Rule, RuleVersion, Zone
from alerts.rules.config import EmbeddedRule, EmbeddedZone
from alerts.schedule import stored
from alerts.versions import Change, changes, content
from detectors.models import Deployment
from streams.models import View


@dataclass(frozen=True, slots=True)
class Step:
    """One version. ``changes``: against the one before; of the first there is nothing to tell."""

    version: RuleVersion
    changes: Sequence[Change]
    is_first: bool
    is_newest: bool


def history(rule: Rule) -> list[Step]:
    """Every version of ``rule``, the newest first."""
    versions = list(rule.versions.select_related("author").order_by("-number"))
    names = {str(uid): name for uid, name in Deployment.objects.values_list("uid", "name")}
    said = [said_by(version, names) for version in versions]
    last = len(versions) - 1
    return [
        Step(version, [] if n == last else changes(said[n + 1], said[n]), n == last, n == 0)
        for n, version in enumerate(versions)
    ]


def said_by(version: RuleVersion, deployments: Mapping[str, str]) -> dict[str, Any]:
    """What ``version`` says, as ``alerts.versions.changes`` takes it. ``deployments``: uid → name."""
    found = content(version.embedded, version.beside)
    uid = str(found.get("deployment", ""))
    return {**found, "deployment": deployments.get(uid, uid)} if uid else found


def go_back(version: RuleVersion, *, author: AbstractBaseUser | None, now: datetime) -> RuleVersion:
    """Make the rule of ``version`` say again what that says, as a new version; one transaction.

    Zones come back as they were, deleted ones too, and every other rule on a zone that moves goes along. Raises
    ``Refused`` where something that it needs is gone for good, or where it could not fire.
    """
    rule, old = version.rule, _read(version)
    with transaction.atomic():
        moved: list[Zone] = []
        zones = [_put_back(zone, moved) for zone in old.zones]
        _fill(rule, version, old)
        made = save_rule(rule, zones=zones, author=author, now=now, recipients=_told(version))
        others = Rule.objects.filter(zones__in=moved, enabled=True).exclude(pk=rule.pk).distinct()
        for other in others:
            republish(other, now=now, author=author)
    return made


def _read(version: RuleVersion) -> EmbeddedRule:
    try:
        return msgspec.convert(version.embedded, EmbeddedRule)
    except msgspec.ValidationError as error:
        raise Refused(
            _("Version %(number)d cannot be read any more (%(problem)s). Choose another one.")
            % {"number": version.number, "problem": error}
        ) from None


def _fill(rule: Rule, version: RuleVersion, old: EmbeddedRule) -> None:
    deployment = Deployment.objects.filter(uid=old.deployment).first()
    if deployment is None:
        raise Refused(_("The deployment that this version listens to is gone. Choose another one in the form."))
    rule.name, rule.kind, rule.severity = old.name, old.kind, old.severity
    rule.deployment, rule.config = deployment, old.config
    rule.schedule = stored(
        msgspec.to_builtins(old.schedule.spans), msgspec.to_builtins(old.schedule.holidays), old.schedule.on_holidays
    )
    beside = version.beside
    rule.enabled = beside.get("enabled", version.active_until_at != version.active_from_at)
    rule.why_it_matters = beside.get("why_it_matters", rule.why_it_matters)
    rule.procedure = beside.get("procedure", rule.procedure)
    if "policy" in beside:
        rule.policy = EscalationPolicy.objects.filter(name=beside["policy"]).first()


def _told(version: RuleVersion) -> list[Recipient] | None:
    """Who was told, as far as they are still there; None where the version did not keep it."""
    if "told" not in version.beside:
        return None
    return list(Recipient.objects.filter(uid__in=[UUID(one["uid"]) for one in version.beside["told"]]))


def _put_back(old: EmbeddedZone, moved: list[Zone]) -> Zone:
    """The zone as it was. One that has to change for that is noted in ``moved``."""
    zone = Zone.objects.select_related("view__camera__site").filter(uid=old.uid).first()
    points = [list(point) for point in old.points]
    if zone is not None and (zone.name, zone.shape, zone.points) == (old.name, old.shape, points):
        return zone
    view = zone.view if zone else View.objects.select_related("camera__site").filter(uid=old.view).first()
    if view is None:
        raise Refused(
            _("The camera of the zone “%(zone)s” is gone. Choose another zone in the form.") % {"zone": old.name}
        )
    if view.zones.filter(name=old.name).exclude(uid=old.uid).exists():
        raise Refused(
            _("“%(camera)s” has another zone named “%(zone)s” by now. Rename that one first.")
            % {"camera": view.camera, "zone": old.name}
        )
    zone = zone or Zone(uid=old.uid, view=view)
    zone.name, zone.shape, zone.points = old.name, old.shape, cast(Any, points)
    if zone.pk:
        # Past the signal: the rules on it get their versions from ``go_back``, with its author and at once.
        Zone.objects.filter(pk=zone.pk).update(name=zone.name, shape=zone.shape, points=zone.points)
        moved.append(zone)
    else:
        zone.save()
    return zone


def newest_version(rule: Rule | None) -> RuleVersion | None:
    """What a change of ``rule`` would change."""
    return rule.versions.order_by("-number").first() if rule is not None else None

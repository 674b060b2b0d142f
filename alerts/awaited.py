"""What sequences wait for: whether it can make them complete, and the sentence that says why not.

Saving and rehearsing ask here, so that neither takes what the other refuses. A sequence is made of two rules that fire
at one site, or on one camera of it; each rule is judged as it stands, or as it is about to be saved.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.utils.translation import gettext as _

from alerts.models import Rule, RuleVersion, Zone
from alerts.rules.config import EmbeddedRule
from alerts.rules.counting import KIND as COUNTING
from alerts.rules.sequence import SequenceConfig, followed, sequence_of
from alerts.sequences import KIND as SEQUENCE
from streams.models import Camera

logger = logging.getLogger(__name__)

Part = tuple[Rule, Sequence[Zone]]
"""A rule and its zones, as they are to become."""
Place = tuple[int, int]
"""A site and a camera there, by their keys."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a sequence can never be complete: a plain sentence with the remedy, and the setting that it is about."""

    text: str
    field: str


def why_it_fires_nothing(rule: Rule | None) -> str:
    """Why ``rule``, which a sequence waits for and which does not run, fires nothing. None: it is gone."""
    if rule is None:
        return _("A rule that the sequence waits for has been deleted. Choose another.")
    if rule.kind == COUNTING:
        text = _("“%(rule)s”, which the sequence waits for, counts and fires nothing. Choose another rule.")
    elif not rule.enabled:
        text = _("“%(rule)s”, which the sequence waits for, is switched off. Switch it on, or choose another rule.")
    else:
        text = _("“%(rule)s”, which the sequence waits for, cannot run. Save it again, or choose another rule.")
    return text % {"rule": rule.name}


def version_in_force(rule: UUID) -> RuleVersion | None:
    """The version of ``rule`` that runs. None where none does, or where it cannot be read."""
    version = RuleVersion.objects.filter(rule__uid=rule, active_until_at__isnull=True).order_by("-number").first()
    if version is None:
        return None
    try:
        embedded(version.embedded)
    except msgspec.ValidationError as error:
        # It does not run either: evaluate leaves it out and says so.
        logger.warning("rule version %s cannot be read: %s", version.uid, error)
        return None
    return version


def embedded(plain: Any) -> EmbeddedRule:
    """The rule that is stored as plain values. Raises ``msgspec.ValidationError``."""
    return msgspec.convert(plain, EmbeddedRule)


def sources_in_force(sequence: EmbeddedRule) -> dict[UUID, EmbeddedRule | None]:
    """The rules that ``sequence`` waits for, and those that these wait for, as they run; None: it fires nothing."""
    found: dict[UUID, EmbeddedRule | None] = {}
    todo = followed(sequence)
    while todo:
        uid = todo.pop(0)
        if uid in found or uid == sequence.rule:
            continue
        version = version_in_force(uid)
        source = None if version is None else embedded(version.embedded)
        found[uid] = None if source is None or source.kind == COUNTING else source
        if source is not None:
            todo += followed(source)
    return found


def cameras_beside(rules: Iterable[EmbeddedRule]) -> dict[UUID, int]:
    """All cameras at the sites of the zones of ``rules``, by name, each with its site's key."""
    zones = {zone.camera for rule in rules for zone in rule.zones}
    sites = Camera.objects.filter(uid__in=zones).values("site")
    return dict(Camera.objects.filter(site__in=sites).order_by("name").values_list("uid", "site_id"))


class Standing:
    """The rules as they are stored, but those of ``changed`` as they are to become."""

    def __init__(self, changed: Iterable[Part] = ()) -> None:
        parts = list(changed)
        self._zones = {rule.uid: list(zones) for rule, zones in parts}
        self._rules: dict[UUID, Rule | None] = {rule.uid: rule for rule, _zones in parts}
        self._changed = frozenset(self._rules)

    def problem(self, sequence: Rule) -> Problem | None:
        """What keeps ``sequence`` from ever being complete. Of one that is off its rules may be off too."""
        return self._problem(sequence, sequence.enabled, ())

    def awaited_by(self, sequence: Rule) -> set[UUID]:
        """All that decides about ``sequence``: itself, its rules, and of those that are sequences theirs."""
        found, todo = set[UUID](), [sequence.uid]
        while todo:
            uid = todo.pop()
            rule = self.rule(uid)
            if uid not in found and rule is not None and (config := sequence_of(rule)) is not None:
                todo += _followed(config).values()
            found.add(uid)
        return found

    def rule(self, uid: UUID) -> Rule | None:
        """The rule of that name, if there is one."""
        if uid not in self._rules:
            self._rules[uid] = Rule.objects.filter(uid=uid).first()
        return self._rules[uid]

    def _problem(self, sequence: Rule, running: bool, trail: tuple[UUID, ...]) -> Problem | None:
        config = sequence_of(sequence)
        if config is None:
            return None  # it is broken, which is told elsewhere
        for field, uid in _followed(config).items():
            if text := self._why_never(uid, running, (*trail, sequence.uid)):
                return Problem(text, field)
        return self._apart(sequence, config)

    def _why_never(self, uid: UUID, running: bool, trail: tuple[UUID, ...]) -> str:
        rule = self.rule(uid)
        if rule is not None and uid in trail:
            return _("“%(rule)s” would wait for itself, so it could never be complete. Choose another rule.") % {
                "rule": rule.name
            }
        if rule is None or rule.kind == COUNTING or (running and not self._runs(rule)):
            return why_it_fires_nothing(rule)
        problem = self._problem(rule, running, trail)
        return problem.text if problem is not None else ""

    def _runs(self, rule: Rule) -> bool:
        return rule.enabled and (rule.uid in self._changed or version_in_force(rule.uid) is not None)

    def _apart(self, sequence: Rule, config: SequenceConfig) -> Problem | None:
        """Both rules are seen where the sequence is made."""
        here = {field: self._fires_at(uid, self._sites(sequence)) for field, uid in _followed(config).items()}
        names = {field: rule.name for field, uid in _followed(config).items() if (rule := self.rule(uid)) is not None}
        for field in (field for field, places in here.items() if not places):
            text = _("There is no rule “%(name)s” at the site of the zones, so the sequence could never be complete.")
            return Problem(text % {"name": names[field]}, field)
        if _meet(config, here["first"], here["then"]):
            return None
        if config.scope == "camera":
            text = _(
                "“%(first)s” and “%(then)s” watch no camera in common, so on one camera the sequence could never be "
                "complete. Let it be made at the site, or choose rules of one camera."
            )
            return Problem(text % names, "scope")
        text = _(
            "“%(first)s” and “%(then)s” watch different sites, and a sequence is made at one. Choose rules of one site."
        )
        return Problem(text % names, "then")

    def _fires_at(self, uid: UUID, sites: set[int]) -> set[Place]:
        return {place for place in self._fires_on(uid) if place[0] in sites}

    def _fires_on(self, uid: UUID) -> set[Place]:
        """The cameras on which the rule fires; where a sequence does, that of its second event."""
        rule = self.rule(uid)
        if rule is None:
            return set()
        if (config := sequence_of(rule)) is not None:
            sites = self._sites(rule)
            first, then = (self._fires_at(one, sites) for one in (UUID(config.first), UUID(config.then)))
            return _meet(config, first, then)
        watched = [zone for zone in self._zones_of(rule) if zone.shape != Zone.Shape.EXCLUSION]
        return {(zone.view.camera.site_id, zone.view.camera_id) for zone in watched}

    def _sites(self, rule: Rule) -> set[int]:
        return {zone.view.camera.site_id for zone in self._zones_of(rule)}

    def _zones_of(self, rule: Rule) -> Sequence[Zone]:
        if rule.uid not in self._zones:
            self._zones[rule.uid] = list(rule.zones.select_related("view__camera"))
        return self._zones[rule.uid]


def _followed(config: SequenceConfig) -> dict[str, UUID]:
    """By setting, the rules that it waits for."""
    return {"first": UUID(config.first), "then": UUID(config.then)}


def _meet(config: SequenceConfig, first: set[Place], then: set[Place]) -> set[Place]:
    """Where the second rule can complete what the first one began."""
    if config.scope == "camera":
        return first & then
    sites = {site for site, _camera in first}
    return {place for place in then if place[0] in sites}


def incomplete() -> list[tuple[Rule, Problem]]:
    """The sequences that are switched on and can never be complete as things stand, each with the reason."""
    standing = Standing()
    judged = [(sequence, standing.problem(sequence)) for sequence in _switched_on()]
    return [(sequence, problem) for sequence, problem in judged if problem is not None]


def starved_by(changed: Collection[Part]) -> list[Rule]:
    """The sequences that can be complete as things stand, and never again once ``changed`` is so."""
    return _starved(_switched_on(), changed)


def _starved(sequences: Sequence[Rule], changed: Collection[Part]) -> list[Rule]:
    before, after = Standing(), Standing(changed)
    touched = {rule.uid for rule, _zones in changed}
    found = [sequence for sequence in sequences if touched & before.awaited_by(sequence)]
    return [one for one in found if before.problem(one) is None and _is_starved(after.rule(one.uid), after)]


def _is_starved(sequence: Rule | None, standing: Standing) -> bool:
    return sequence is not None and sequence.enabled and standing.problem(sequence) is not None


def starved_without(zones: Collection[Zone]) -> list[Rule]:
    """The sequences that would never be complete again if ``zones`` were gone, and rules that have no other with them.

    Those that would end themselves are not among them.
    """
    sequences = _switched_on()
    if not sequences:
        return []
    changed: list[Part] = []
    for rule in Rule.objects.filter(zones__in=zones, enabled=True).distinct():
        left = list(rule.zones.exclude(pk__in=[zone.pk for zone in zones]).select_related("view__camera"))
        rule.enabled = any(zone.shape != Zone.Shape.EXCLUSION for zone in left)
        changed.append((rule, left))
    return _starved(sequences, changed)


def _switched_on() -> list[Rule]:
    return list(Rule.objects.filter(kind=SEQUENCE, enabled=True).order_by("name"))

"""The shell around the second fold: stored events in, sequences recorded. One at a time does it, in the sweep.

Its state lives in memory and is made again from the rows, which are the truth: what is recorded twice has the same name
and changes nothing. So it needs neither a position nor a snapshot, and no other process.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db.models import Q

from alerts import incidents
from alerts.events import Event as Content
from alerts.models import Event, RuleVersion
from alerts.rules.config import EmbeddedRule
from alerts.sequences import KIND, Sequences
from streams.models import Camera, SequenceCounter

logger = logging.getLogger(__name__)

LATENESS = timedelta(seconds=8)
"""Sequences wait so long for events that happened before: a quiet camera's timers run 2 s behind, and detection may lag
some seconds. For what is known later still, everything is folded again."""
OVERLAP = timedelta(seconds=30)
"""Rows are read again for so long after they were stored: of two transactions the earlier may commit later."""
AGAIN = timedelta(minutes=10)
"""At the start so much of the past is recorded again, in case whoever swept before did not come to it …"""
BEFORE = timedelta(hours=1)
"""… having been folded from so much earlier, and from the longest wait of any sequence before that."""
ENDED = timedelta(hours=1)
IDLE = timedelta(seconds=30)
"""Whoever has not looked for so long may have missed rows, and begins anew."""


class SequenceShell:
    """Call ``turn`` about once a second. It costs one small query while there is no sequence."""

    def __init__(self) -> None:
        self._configured = -1
        self._rules: dict[int, list[EmbeddedRule]] = {}
        self._folds: dict[int, Sequences] = {}
        self._sites: dict[UUID, int] = {}
        self._taken: dict[UUID, datetime] = {}
        self._read_at: datetime | None = None

    def turn(self, now: datetime) -> int:
        """Take in what was stored since, record what it completes. Returns how many sequences that were."""
        self._configure(now)
        if not self._folds:
            self._read_at = None
            return 0
        try:
            if self._read_at is None or now - self._read_at > IDLE:
                self._begin(now)
            if not self._read(now, Q(known_at__gte=(self._read_at or now) - OVERLAP)):
                self._begin(now)
            made = self._advance(now)
        except Exception:
            # The folds may have gone on without their events being recorded: the next turn makes them again.
            self._read_at = None
            raise
        self._read_at = now
        return made

    def _configure(self, now: datetime) -> None:
        value = SequenceCounter.current(SequenceCounter.CONFIGURATION)
        if value == self._configured:
            return
        self._sites = dict(Camera.objects.values_list("uid", "site_id"))
        self._rules = _rules_by_site(now, self._sites)
        wanted = {site: rules for site, rules in self._rules.items() if any(rule.kind == KIND for rule in rules)}
        self._folds = {site: self._folds.get(site) or Sequences() for site in wanted}
        for site, rules in wanted.items():
            self._folds[site].configure(rules)
            for version, reason in self._folds[site].broken.items():
                logger.error("rule version %s cannot run: %s", version, reason)
        self._configured = value

    def _begin(self, now: datetime) -> None:
        """Make the state again from the rows; what lies further back than ``AGAIN`` is recorded already."""
        self._folds = {site: Sequences(self._rules[site]) for site in self._folds}
        self._taken = {}
        waits_s = [fold.longest_s for fold in self._folds.values()]
        since = now - AGAIN - BEFORE - timedelta(seconds=max(waits_s))
        self._read(now, Q(happened_at__gte=since))
        for fold in self._folds.values():
            fold.advance(now - AGAIN)

    def _read(self, now: datetime, which: Q) -> bool:
        """Fold in the rows that are new; False: one that a sequence waits for came behind the watermark."""
        in_time = True
        rows = Event.objects.filter(which, source="rule", rule_version__isnull=False).exclude(kind=KIND)
        for uid, content in rows.order_by("happened_at", "id").values_list("uid", "content").iterator():
            if uid in self._taken:
                continue
            try:
                event = msgspec.convert(content, Content)
            except msgspec.ValidationError as error:
                logger.error("event %s cannot be read (%s); no sequence counts it", uid, error)
                self._taken[uid] = now
                continue
            fold = self._folds.get(self._sites.get(event.camera, -1))
            if fold is None:
                continue
            self._taken[uid] = now
            if not fold.step(event) and fold.awaits(event):
                logger.info("event %s is known more than %s after it happened", event.uid, LATENESS)
                in_time = False
        kept_since = now - 2 * OVERLAP - LATENESS
        self._taken = {uid: at for uid, at in self._taken.items() if at >= kept_since}
        return in_time

    def _advance(self, now: datetime) -> int:
        made = [event for fold in self._folds.values() for event in fold.advance(now - LATENESS)]
        if made:
            incidents.record(made, now=now)
        return len(made)


def _longest() -> timedelta:
    """How long any sequence waits: events of versions that ended so long ago still count."""
    configs = RuleVersion.objects.filter(kind=KIND, active_until_at__isnull=True).values_list("embedded", flat=True)
    waits = [embedded.get("config", {}).get("within_s", 0.0) for embedded in configs]
    return timedelta(seconds=max((wait for wait in waits if isinstance(wait, int | float)), default=0.0))


def _rules_by_site(now: datetime, sites: dict[UUID, int]) -> dict[int, list[EmbeddedRule]]:
    """Versions in force or lately so, by the site of their first zone."""
    ended = now - max(ENDED, _longest() + BEFORE + AGAIN)
    versions = RuleVersion.objects.filter(Q(active_until_at__isnull=True) | Q(active_until_at__gt=ended))
    found: dict[int, list[EmbeddedRule]] = defaultdict(list)
    for version in versions.order_by("id"):
        try:
            rule = msgspec.convert(version.embedded, EmbeddedRule)
        except msgspec.ValidationError:
            continue  # evaluate says so, and counts it
        for site in {sites[zone.camera] for zone in rule.zones if zone.camera in sites}:
            found[site].append(msgspec.structs.replace(rule, active_until_at=version.active_until_at))
    return dict(found)

"""The second fold: one site's ``events`` in, sequences of two of them out. Pure.

Events of several cameras arrive in any order, so each waits until the watermark has passed its ``happened_at``, and is
then taken in the order of ``(happened_at, uid)``: whatever the order of arrival, batching or restarts, the same
sequences come out under the same names. What arrives behind the watermark is counted and left out.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from alerts.events import Event, Fact, event_uid
from alerts.rules.config import EmbeddedRule
from alerts.rules.logic import Shortfall, short, tenths
from alerts.rules.registry import BadConfig, read_config
from alerts.rules.sequence import SequenceConfig
from alerts.schedule import is_active
from streams.instants import to_us

SEQUENCES_VERSION = 1
KIND = "sequence"


class _Opening(msgspec.Struct, frozen=True):
    """An event of the first rule that no second has completed yet."""

    uid: UUID
    camera: UUID
    at_us: int


class _State(msgspec.Struct):
    """One version's state. Of each scope (a camera, or None for the site): when it last matched, and last fired."""

    openings: list[_Opening] = msgspec.field(default_factory=list)
    matched_us: dict[str, int] = msgspec.field(default_factory=dict)
    fired_us: dict[str, int] = msgspec.field(default_factory=dict)


class _Snapshot(msgspec.Struct):
    version: int
    watermark_us: int
    waiting: list[Event]
    states: dict[UUID, _State]


class _Running:
    """One sequence version with its settings and state."""

    def __init__(self, rule: EmbeddedRule, config: SequenceConfig, state: _State) -> None:
        self.rule, self.config, self.state = rule, config, state
        self.first, self.then = UUID(config.first), UUID(config.then)

    def take(self, event: Event, rule: UUID) -> Event | None:
        """Fold in ``event``, which ``rule`` made; the sequence that it completes, if any."""
        if rule not in (self.first, self.then) or not self._acts(event.happened_at):
            return None
        at_us = to_us(event.happened_at)
        # One more after the last that can still matter would do no harm; a list that grows would.
        self.state.openings = [one for one in self.state.openings if at_us - one.at_us <= self._within_us]
        made = self._complete(event, at_us) if rule == self.then else None
        if rule == self.first:
            self.state.openings.append(_Opening(event.uid, event.camera, at_us))
        return made

    @property
    def _within_us(self) -> int:
        return round(self.config.within_s * 1e6)

    def _acts(self, at: datetime) -> bool:
        rule = self.rule
        ended = rule.active_until_at is not None and at >= rule.active_until_at
        return at >= rule.active_from_at and not ended and is_active(rule.schedule, at)

    def _complete(self, event: Event, at_us: int) -> Event | None:
        anywhere = self.config.scope == "site"
        opening = next(
            (
                one
                for one in reversed(self.state.openings)
                if one.at_us < at_us and (anywhere or one.camera == event.camera)
            ),
            None,
        )
        if opening is None:
            return None
        self.state.openings.remove(opening)
        if not self._armed("" if anywhere else str(event.camera), at_us):
            return None
        return self._event(opening, event, at_us)

    def _armed(self, scope: str, at_us: int) -> bool:
        """Whether it may fire again there; takes note that it matched."""
        state, config = self.state, self.config
        since_us = (state.fired_us if config.rearm == "interval" else state.matched_us).get(scope)
        state.matched_us[scope] = at_us
        if since_us is not None and at_us - since_us < config.rearm_s * 1e6:
            return False
        state.fired_us[scope] = at_us
        return True

    def _event(self, opening: _Opening, event: Event, at_us: int) -> Event:
        occurrence = hashlib.sha256(opening.uid.bytes + event.uid.bytes).digest()
        after_s = round((at_us - opening.at_us) / 1e6, 2)
        return msgspec.structs.replace(
            event,
            uid=event_uid(self.rule.version, occurrence, 0),
            kind=self.rule.kind,
            severity=self.rule.severity,
            rule_version=self.rule.version,
            facts=[Fact("after_first", after_s, "<=", self.config.within_s, "s")],
            stale_s=self.config.stale_s,
            causes=[opening.uid, event.uid],
        )


class Sequences:
    """The fold of one site. ``step`` each event in any order, ``advance`` as time goes by."""

    def __init__(self, rules: Iterable[EmbeddedRule] = (), snapshot: bytes | None = None) -> None:
        self.late = 0
        """Events that came behind the watermark, repeated ones among them, and were left out."""
        self.broken: dict[UUID, str] = {}
        self._watermark_us = 0
        self._waiting: dict[UUID, Event] = {}
        self._running: dict[UUID, _Running] = {}
        self._kept: dict[UUID, _State] = {}
        self._made_by: dict[UUID, UUID] = {}
        if snapshot:
            self._restore(snapshot)
        self.configure(rules)

    def configure(self, rules: Iterable[EmbeddedRule]) -> None:
        """Take all rule versions of the site: the sequences among them, and those whose events they wait for.

        Give ended versions for as long as their events may still come.
        """
        rules = list(rules)
        self._made_by = {rule.version: rule.rule for rule in rules}
        states = self._kept | {version: running.state for version, running in self._running.items()}
        self._running, self._kept, self.broken = {}, {}, {}
        for rule in sorted((rule for rule in rules if rule.kind == KIND), key=lambda rule: rule.version):
            try:
                config = read_config(rule.kind, rule.config)
            except BadConfig as error:
                self.broken[rule.version] = str(error)
                continue
            assert isinstance(config, SequenceConfig)
            self._running[rule.version] = _Running(rule, config, states.get(rule.version) or _State())

    @property
    def longest_s(self) -> float:
        """The longest time that any sequence waits for its second event."""
        return max((running.config.within_s for running in self._running.values()), default=0.0)

    def step(self, event: Event) -> bool:
        """Take in one event; what follows from it comes out of ``advance``. False: it came behind the watermark."""
        if to_us(event.happened_at) <= self._watermark_us:
            self.late += 1
            return False
        if event.rule_version in self._made_by:
            self._waiting[event.uid] = event
        return True

    def awaits(self, event: Event) -> bool:
        """Whether any sequence is made of what the rule of ``event`` fires."""
        rule = self._made_by.get(event.rule_version) if event.rule_version else None
        return any(rule in (running.first, running.then) for running in self._running.values())

    def advance(self, watermark: datetime) -> list[Event]:
        """No event that happened until ``watermark`` is awaited any more: the sequences completed by then."""
        self._watermark_us = max(self._watermark_us, to_us(watermark))
        made: list[Event] = []
        while ready := min(self._ready(), key=lambda event: (event.happened_at, event.uid), default=None):
            completed = self._take(self._waiting.pop(ready.uid))
            # Another sequence may wait for this one; by the time it came round, the watermark would have passed it.
            self._waiting |= {event.uid: event for event in completed}
            made += completed
        return made

    def snapshot(self) -> bytes:
        """The whole state; one made from it goes on exactly as this one would."""
        states = self._kept | {version: running.state for version, running in self._running.items()}
        waiting = sorted(self._waiting.values(), key=lambda event: event.uid)
        return msgspec.msgpack.encode(_Snapshot(SEQUENCES_VERSION, self._watermark_us, waiting, states))

    def _restore(self, data: bytes) -> None:
        snapshot = msgspec.msgpack.decode(data, type=_Snapshot)
        if snapshot.version != SEQUENCES_VERSION:
            raise ValueError(
                f"snapshot: expected sequences version {SEQUENCES_VERSION}, got {snapshot.version}; "
                f"it needs an upcaster"
            )
        self._watermark_us, self._kept = snapshot.watermark_us, snapshot.states
        self._waiting = {event.uid: event for event in snapshot.waiting}

    def _ready(self) -> list[Event]:
        return [event for event in self._waiting.values() if to_us(event.happened_at) <= self._watermark_us]

    def _take(self, event: Event) -> list[Event]:
        rule = self._made_by.get(event.rule_version) if event.rule_version else None
        if rule is None:
            return []
        return [made for running in self._running.values() if (made := running.take(event, rule)) is not None]


def shortfalls(
    config: SequenceConfig,
    made: Sequence[tuple[UUID, Event]],
    from_at: datetime,
    until_at: datetime,
    *,
    fired_at: datetime | None,
) -> list[Shortfall]:
    """What a sequence lacked to fire in [from, until]. ``made``: events, each with the rule that made it.

    ``fired_at`` is when it last did before.
    """
    first, then = UUID(config.first), UUID(config.then)
    seconds = [event for rule, event in made if rule == then and from_at <= event.happened_at <= until_at]
    if not seconds:
        return [Shortfall(bound="second", wanted=config.then, got="")]
    second = max(seconds, key=lambda event: event.happened_at)
    firsts = [event for rule, event in made if rule == first and event.happened_at < second.happened_at]
    if not firsts:
        return [Shortfall(bound="first", wanted=config.first, got="")]
    here = [event for event in firsts if config.scope == "site" or event.camera == second.camera]
    if not here:
        return [Shortfall(bound="scope", wanted="camera", got="site", setting="scope", proposed="site")]
    after_s = (second.happened_at - max(event.happened_at for event in here)).total_seconds()
    if after_s > config.within_s:
        return [short("after_first", config.within_s, math.ceil(after_s), "within_s")]
    if fired_at is None:
        return []
    ready_s = tenths((second.happened_at - fired_at).total_seconds())
    return [short("rearm", config.rearm_s, ready_s, "rearm_s")] if ready_s < config.rearm_s else []

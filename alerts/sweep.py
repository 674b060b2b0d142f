"""The sweep: once a second, whatever ought to have happened and has not.

One sweeps, under a database lease; others stand by. Each step stands alone: one that fails is logged, the others run.
The database is the truth, so every step may be repeated at will, by any number of sweeps.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import Error as DatabaseError
from django.db import IntegrityError, close_old_connections, connection
from django.db.models import Q

from alerts import (
    answering,
    auditor,
    delivery,
    heartbeat,
    holding,
    pictures,
    reconcile,
    rehearsals,
    spending,
    telling,
)
from alerts.events import Event as Content
from alerts.events import encode_event
from alerts.models import Event, Incident, ProcessLease
from alerts.muting_watch import MutingWatch
from alerts.sequence_shell import SequenceShell
from streams.beat import Pulse
from streams.log import Log, Producer
from streams.models import SequenceCounter
from streams.topics import EVENTS

logger = logging.getLogger(__name__)

LEASE = "sweep"
LEASE_S = 10.0
RENEW_S = 3.0
"""A renewal is a write that reaches the disk."""
GRACE_S = 1.5
"""Deliveries are handed over right after their commit; what is still queued then is handed over again."""
AGAIN_S = 5.0
REST_S = 5.0
"""With nothing changed and nothing unfinished, everything is looked through no more often than this."""
BROKER_AWAY_S = 10.0
OVERDUE_S = 20.0
"""Handed over and still queued: the broker lost it or no worker runs. The sweep sends it itself."""
LATE_S = 10.0
"""What the heartbeat counts as lag: due for longer than this."""
SENDERS = 4
"""Threads for each service, so that one that hangs holds only its own."""
CLOSE_S = 2.0
TIDY_S = 30.0
MUTES_S = 2.0
FOLLOW_S, LISTEN_S, LISTEN_QUIET_S, AUDIT_S = 5.0, 5.0, 60.0, 60.0
"""Answers are fetched more often while anything is open that they could acknowledge."""
PICTURES_AT_ONCE, EVENTS_AT_ONCE = 20, 200


class Lane:
    """A few threads that work off one queue, each item once at a time. They end with the process, whatever they do."""

    def __init__(self, name: str, threads: int, work: Callable[[UUID], object]) -> None:
        self._work = work
        self._waiting: queue.SimpleQueue[UUID] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._held: set[UUID] = set()
        for number in range(threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether anything waits or is being worked on."""
        return bool(self._held)

    def give(self, item: UUID) -> None:
        """Work on ``item`` soon, unless it is waiting or in hand already."""
        with self._lock:
            if item in self._held:
                return
            self._held.add(item)
        self._waiting.put(item)

    def _run(self) -> None:
        while True:
            item = self._waiting.get()
            try:
                self._work(item)
            except Exception:
                logger.exception("%s: failed; the sweep comes back to it", item)
            finally:
                close_old_connections()
                with self._lock:
                    self._held.discard(item)


class Sweeper:
    """Call ``turn`` each second. It never waits for a provider, a picture or the broker."""

    def __init__(
        self,
        log: Log,
        owner: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log, self._owner, self._now, self._monotonic = log, owner, now, monotonic
        self._producer: Producer = log.producer()
        self._handed: dict[tuple[UUID, datetime], float] = {}
        self._senders: dict[str, Lane] = {}
        self._sequences = SequenceShell()
        self._muting = MutingWatch()
        self._copier = Lane("sweep-log", 1, self._with_log)
        self._follower = Lane("sweep-follow", 1, lambda _: reconcile.follow_up(self._now()))
        self._listener = Lane("sweep-listen", 1, lambda _: answering.poll(self._now()))
        self._caller = Lane("sweep-life", 1, lambda _: heartbeat.call())
        self._last_s: dict[str, float] = {}
        self._figures: dict[str, float] = {}
        self._open = True
        self._lag = 0
        self._problem = ""
        self._led_s = float("-inf")
        self._unfinished = True
        self._change = -1
        self._looked_s = float("-inf")
        self._at_rest = False
        self.leading = False

    def pulse(self) -> Pulse:
        """Overdue deliveries, whether this one leads, the most loaded operator, and what was spent."""
        return Pulse(lag=self._lag, problem=self._problem, figures={"leading": float(self.leading), **self._figures})

    def turn(self) -> None:
        """Do everything that is due, if the lease is ours."""
        problem = self._guarded(self._lead)
        problem = (self._guarded(self._look) if self.leading else "") or problem
        for step in self._steps() if self.leading and not self._at_rest else []:
            problem = self._guarded(step) or problem
        self._problem = problem or self._broker_problem()

    def _look(self) -> None:
        # Should the look fail, every step is tried.
        rested, self._unfinished, self._at_rest = not self._unfinished, True, False
        change = SequenceCounter.current(SequenceCounter.CHANGES)
        recent = self._monotonic() - self._looked_s < REST_S
        if rested and recent and change == self._change and not self._muting.passed(self._now()):
            self._unfinished, self._at_rest = False, True
            return
        self._change, self._looked_s = change, self._monotonic()
        self._unfinished = delivery.any_unfinished(self._now())
        self._open = Incident.objects.filter(state=Incident.State.OPEN).exists()

    def _steps(self) -> list[Callable[[], object]]:
        if not self._unfinished:
            self._lag = 0
            take = partial(telling.take_due_steps, self._now())
            return [self._mute, take, self._sequence, self._copy, self._tidy, self._ask, self._audit]
        by_time = (
            delivery.cancel_unwanted,
            delivery.expire_leases,
            delivery.resend_unknown,
            telling.take_due_steps,
        )
        return [
            self._mute,
            *(lambda step=step: step(self._now()) for step in by_time),
            self._sequence,
            self._forward,
            self._count,
            self._copy,
            self._tidy,
            self._ask,
            self._audit,
        ]

    def _guarded(self, step: Callable[[], object]) -> str:
        """Run ``step``; the code of the problem that stopped it, or nothing."""
        try:
            step()
        except DatabaseError as error:
            logger.error("the database does not answer (%s); trying again", error)
            if not connection.in_atomic_block:
                connection.close()
            return "database"
        except Exception:
            logger.exception("a step of the sweep failed; the others run")
            return "sweep"
        return ""

    def _broker_problem(self) -> str:
        return "broker" if delivery.broker_away_s() >= BROKER_AWAY_S else ""

    def _lead(self) -> None:
        if self.leading and self._monotonic() - self._led_s < RENEW_S:
            return
        self._led_s = self._monotonic()
        was, self.leading = self.leading, False
        self.leading = take_lease(LEASE, self._owner, self._now(), LEASE_S)
        if self.leading and not was:
            logger.info("%s sweeps", self._owner)

    def _sequence(self) -> None:
        self._sequences.turn(self._now())

    def _count(self) -> None:
        self._lag = delivery.count_overdue(self._now(), since_s=LATE_S)

    def _forward(self) -> None:
        """Hand over what is due; send it ourselves when nobody else will."""
        due = delivery.to_hand_over(self._now(), grace_s=GRACE_S)
        known = {(uid, due_at) for uid, _severity, _service, due_at in due}
        self._handed = {key: at_s for key, at_s in self._handed.items() if key in known}
        alone = delivery.broker_away_s() >= BROKER_AWAY_S
        for uid, severity, service, due_at in due:
            if alone or self._now() - due_at > timedelta(seconds=OVERDUE_S):
                self._send_ourselves(uid, service)
            if self._monotonic() - self._handed.get((uid, due_at), float("-inf")) >= AGAIN_S:
                # Also while the broker is away: that is how its return is noticed.
                self._handed[(uid, due_at)] = self._monotonic()
                delivery.hand_over([uid], severity=severity)

    def _send_ourselves(self, uid: UUID, service: str) -> None:
        if service not in self._senders:
            self._senders[service] = Lane(f"sweep-{service}", SENDERS, delivery.deliver)
        self._senders[service].give(uid)

    def _ask(self) -> None:
        """What became of what was sent, and what people answered; on threads, for a provider may take its time."""
        if self._is_time("follow", FOLLOW_S):
            self._follower.give(_COPY)
        if self._is_time("listen", LISTEN_S if self._open else LISTEN_QUIET_S):
            self._listener.give(_COPY)

    def _audit(self) -> None:
        """Whether anybody was forgotten; while nobody was and all works, a sign of life to the outside."""
        if not self._is_time("audit", AUDIT_S):
            return
        found = auditor.audit(self._now())
        loads, used = holding.loads(self._now()), spending.month_used(self._now())
        self._figures = {
            "alerts_10min_most": float(loads[0].alerts if loads else 0),
            "in_flood": float(sum(load.flooded for load in loads)),
            "sms_month": float(used),
        }
        amiss = {finding.code for finding in found} - auditor.HARMLESS
        if settings.HEARTBEAT_URL and not amiss and not self._problem:
            self._copier.give(_BEAT)

    def _is_time(self, what: str, every_s: float) -> bool:
        due = self._monotonic() - self._last_s.get(what, float("-inf")) >= every_s
        if due:
            self._last_s[what] = self._monotonic()
        return due

    def _mute(self) -> None:
        """Sites that went out, and whatever mutes or no longer mutes."""
        if self._is_time("mute", MUTES_S):
            self._muting.turn(self._now())

    def _tidy(self) -> None:
        """Rehearsals that their worker left have failed; those of yesterday go."""
        if self._is_time("tidy", TIDY_S):
            rehearsals.tidy(self._now())

    def _copy(self) -> None:
        """Pictures out of the log and events into it, on a thread: the log may take its time."""
        self._copier.give(_COPY)

    def _with_log(self, what: UUID) -> None:
        if what == _BEAT:
            self._show_life()
        else:
            self._copy_all()

    def _show_life(self) -> None:
        if unwell := heartbeat.unwell(self._log, self._now()):
            logger.warning("no sign of life is given: %s", ", ".join(unwell))
        else:
            self._caller.give(_BEAT)

    def _copy_all(self) -> None:
        fetch_pictures(self._log, self._now())
        publish_events(self._producer, self._now())

    def close(self) -> None:
        """Give the lease back, and what is being sent a moment to end; else its lease runs out: *unknown*."""
        self._guarded(lambda: give_back_lease(LEASE, self._owner, self._now()))
        until_s = self._monotonic() + CLOSE_S
        while self._monotonic() < until_s and any(lane.busy for lane in self._senders.values()):
            time.sleep(0.05)
        self._producer.close(0.5)


_COPY, _BEAT = UUID(int=0), UUID(int=1)


def take_lease(name: str, owner: str, now: datetime, lease_s: float) -> bool:
    """Make or keep ``owner`` the one that does ``name``'s work until ``lease_s`` from ``now``. False: another is."""
    until_at = now + timedelta(seconds=lease_s)
    free = Q(owner=owner) | Q(owner="") | Q(until_at__lt=now) | Q(until_at__isnull=True)
    if ProcessLease.objects.filter(free, name=name).update(owner=owner, until_at=until_at):
        return True
    if ProcessLease.objects.filter(name=name).exists():
        return False
    try:
        ProcessLease.objects.create(name=name, owner=owner, until_at=until_at)
    except IntegrityError:
        return False
    return True


def give_back_lease(name: str, owner: str, now: datetime) -> None:
    """Let the next one begin at once."""
    ProcessLease.objects.filter(name=name, owner=owner).update(owner="", until_at=now)


def fetch_pictures(log: Log, now: datetime) -> int:
    """Fetch what evaluate has not, a little after it had its turn. Returns how many were settled."""
    pending = Event.objects.filter(picture=Event.Picture.PENDING, known_at__lte=now - timedelta(seconds=1))
    rows = list(pending.order_by("known_at")[:PICTURES_AT_ONCE])
    return sum(pictures.fetch(row, log) != Event.Picture.PENDING for row in rows)


def publish_events(producer: Producer, now: datetime) -> int:
    """Append stored events to the ``events`` topic, at least once and in order. Returns how many were acknowledged."""
    rows = list(
        # What was reported of a whole site belongs to no partition: no rule follows it.
        Event.objects.filter(published_at__isnull=True, camera__isnull=False)
        .select_related("camera")
        .order_by("pk")[:EVENTS_AT_ONCE]
    )
    acknowledged: list[int] = []
    for row in rows:
        partition = row.camera.partition if row.camera else 0

        def done(offset: int | None, error: Exception | None, key: int = row.pk) -> None:
            if error is None:
                acknowledged.append(key)

        if not producer.append(EVENTS.name, partition, encode_event(msgspec.convert(row.content, Content)), done):
            break
    if rows:
        producer.flush(5.0)
        Event.objects.filter(pk__in=list(acknowledged)).update(published_at=now)
    return len(acknowledged)

"""Messages that leave because somebody pressed a button: how many, for whoever may press it or has stolen an account.

Nobody is to run up a bill with them (SMS pumping), nor to annoy a stranger. The rows of what was sent are the limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from alerts.budgets import Budget, free_at
from alerts.editing import Refused
from alerts.models import Contact
from streams.models import SequenceCounter

MINUTE_S, HOUR_S = 60.0, 3600.0
LOOK_BACK = timedelta(seconds=HOUR_S)
"""The longest window of any limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many may go to one number or address, be asked for by one person, and by everybody together."""

    there: Sequence[Budget]
    person: Sequence[Budget]
    in_all: Sequence[Budget]


def check(
    earlier: QuerySet[Any], limits: Limits, contact: Contact, asked_by: AbstractBaseUser | None, now: datetime
) -> None:
    """Raises ``Refused``, saying from when on, where one more message to ``contact`` would be too many.

    ``earlier``: rows with ``address``, ``asked_by`` and ``sent_at``. Call it in the transaction that stores the next
    one: whoever asks at the same moment waits, so that each is counted before the next.
    """
    SequenceCounter.advance(SequenceCounter.BY_HAND)
    rows = list(earlier.filter(sent_at__gt=now - LOOK_BACK).values_list("sent_at", "address", "asked_by"))
    there = [at for at, address, _who in rows if address == contact.address]
    mine = [at for at, _address, who in rows if asked_by is not None and who == asked_by.pk]
    _hold_to(limits.there, there, now, _("%(n)d were sent there within %(within)s."))
    _hold_to(limits.person, mine, now, _("You have sent %(n)d within %(within)s."))
    _hold_to(limits.in_all, [at for at, *_rest in rows], now, _("%(n)d were sent within %(within)s, by all together."))


def _hold_to(budgets: Sequence[Budget], sent: Sequence[datetime], now: datetime, sentence: str) -> None:
    for budget in budgets:
        free = free_at([(at, 1) for at in sent], 1, budget, now)
        if free > now:
            within = _("a minute") if budget.window_s == MINUTE_S else _("an hour")
            said = sentence % {"n": budget.amount, "within": within}
            again = _("The next one can go at %(time)s.") % {"time": _clock(free)}
            raise Refused(f"{said} {again}")


def _clock(at: datetime) -> str:
    """In the reader's clock, and not a second too early."""
    return f"{timezone.localtime(at + timedelta(seconds=1)):%H:%M:%S}"

"""What is asked again and again never looks through a table that grows for years.

SQLite says how it will answer before it does, and without statistics it errs in one way that this holds on to: an index
of a column that is nearly always null finds nearly everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from alerts import auditor, delivery, holding, reconcile, spending, telling
from alerts.incidents import acknowledge, record
from alerts.models import Delivery, Incident
from tests.alerts.town import EMAIL, SMS, Town, at
from tests.services.smtp import FakeSmtp
from tests.services.twilio import FakeTwilio

pytestmark = pytest.mark.django_db

GROWING = (
    *("alerts_alert", "alerts_delivery", "alerts_event", "alerts_incident", "alerts_incidenttransition"),
    *("alerts_inboundmessage", "streams_blindspan"),
)


FINAL = r"""(?<!NOT \()"\w+"."state" (=|IN) \(?[^)"]*'(sent|delivered|failed|cancelled|resolved)'"""
"""Asked for by a state in which nearly all end; to leave such out is another matter."""


def a_busy_quarter_hour(town: Town) -> None:
    """Events, deliveries in all their states, steps, answers, the sweep's and the auditor's looks."""
    for second in range(12):
        camera = town.yard if second % 2 else town.gate
        record([town.event(frame=None, happened_at=at(second), camera=camera.uid)], now=at(second))
    for second in (3, 5, 90, 200, 400):
        look(at(second))
    acknowledge(Incident.objects.get(state="open", camera=town.gate).uid, by=None, through="screen", now=at(500))


def look(now: datetime) -> None:
    """What sweep, auditor and workers ask at one moment."""
    for step in (delivery.cancel_unwanted, delivery.expire_leases, delivery.resend_unknown, reconcile.follow_up):
        step(now)
    for step in (telling.take_due_steps, auditor.audit, holding.loads, spending.month_used):
        step(now)
    delivery.to_hand_over(now, grace_s=0)
    delivery.count_overdue(now, since_s=0)
    for uid in Delivery.objects.filter(state="queued").values_list("uid", flat=True):
        delivery.deliver(uid, clock=lambda: now)


def faults(statements: list[str]) -> Iterator[str]:
    """Plans that look through a growing table, each kind of statement once."""
    seen: set[str] = set()
    for statement in statements:
        shape = re.sub(r"\b\d+\b", "?", re.sub(r"'[^']*'", "?", statement))
        if shape in seen or not statement.startswith(("SELECT", "UPDATE", "DELETE")):
            continue
        seen.add(shape)
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + statement.replace("%", "%%"))
            plan = [str(row[3]) for row in cursor.fetchall()]
        names = dict(re.findall(r'(?:FROM|JOIN) "(\w+)" (\w\d)\b', statement))
        for step in plan:
            if is_a_fault(step, statement, names) and not is_sparse(statement):
                yield f"{step}: {statement}"


def is_a_fault(step: str, statement: str, names: dict[str, str]) -> bool:
    """Whether ``step`` goes through all of a table that grows, or through all that have nothing in a column."""
    tables = {alias: table for table, alias in names.items()}
    found = re.match(r"(SCAN|SEARCH) (\w+)", step)
    table = tables.get(found[2], found[2]) if found else ""
    if found is None or table not in GROWING:
        return False
    if found[1] == "SCAN":
        # An index of the few that are meant is no more than those.
        return "USING INDEX blind_span_open" not in step
    by = re.search(r"\((\w+)=\?\)", step)
    if by is None or "LEFT-JOIN" in step:
        return False
    everything = f'"{by[1]}" IS NULL' if by[1] != "state" else FINAL
    return re.search(everything, statement) is not None


def is_sparse(statement: str) -> bool:
    """What is asked when the auditor has found something, and answered by one of the newest."""
    return bool(re.search(r'FROM "alerts_incident" WHERE "alerts_incident"."group_key" = .* DESC LIMIT 1', statement))


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL decides by statistics")
def test_nothing_that_is_asked_again_and_again_looks_through_what_grows(
    town: Town, twilio: FakeTwilio, smtp: FakeSmtp, settings: Settings
) -> None:
    settings.TWILIO, settings.POLISCOPE_SMTP_URL = twilio.settings, smtp.url
    town.person("Alice", SMS)
    town.person("Bob", EMAIL)
    with CaptureQueriesContext(connection) as asked:
        a_busy_quarter_hour(town)

    assert len(asked) > 200
    assert list(faults([one["sql"] for one in asked])) == []

"""The tables: zones, rules, recipients; events, incidents, alerts, deliveries; and how far the fold has come."""

from __future__ import annotations

from alerts.models.escalation import EscalationPolicy, EscalationStep, Rota, RotaMember, RotaOverride
from alerts.models.fold import Count, FoldPosition, ProcessLease
from alerts.models.incidents import Event, Incident, IncidentTransition
from alerts.models.muting import MaintenanceWindow, Silence
from alerts.models.outbox import Alert, Delivery, InboundMessage, ReplyCode
from alerts.models.people import Contact, ContactCode, ContactQuerySet, OtherSms, Recipient, Team, TrialMessage
from alerts.models.rehearsals import Rehearsal, RehearsalRow
from alerts.models.rules import Rule, RuleTemplate, RuleVersion, Severity, TemplateOverride, Zone

__all__ = [
    "Alert",
    "Contact",
    "ContactCode",
    "ContactQuerySet",
    "Count",
    "Delivery",
    "EscalationPolicy",
    "EscalationStep",
    "Event",
    "FoldPosition",
    "InboundMessage",
    "Incident",
    "IncidentTransition",
    "MaintenanceWindow",
    "OtherSms",
    "ProcessLease",
    "Recipient",
    "Rehearsal",
    "RehearsalRow",
    "ReplyCode",
    "Rota",
    "RotaMember",
    "RotaOverride",
    "Rule",
    "RuleTemplate",
    "RuleVersion",
    "Severity",
    "Silence",
    "Team",
    "TemplateOverride",
    "TrialMessage",
    "Zone",
]

"""Escalation policies: written whole, and refused with the reason where they would tell nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from alerts.editing import Refused, touch
from alerts.models import Contact, EscalationPolicy, EscalationStep, Recipient, Rota, Team

STEPS_MOST, REPEATS_MOST = 10, 10
WAIT_LEAST_S, WAIT_MOST_S = 30, 24 * 3600


@dataclass(frozen=True, slots=True)
class StepDraft:
    """A step as somebody wrote it."""

    recipients: Sequence[Recipient] = ()
    teams: Sequence[Team] = ()
    rotas: Sequence[Rota] = ()
    channels: Collection[str] = field(default=())
    wait_s: int = 120

    @property
    def people(self) -> Q:
        """Everybody whom it may ever tell."""
        on_rota = Q(places__rota__in=self.rotas) | Q(pk__in=[row.on_holidays_id for row in self.rotas])
        return Q(pk__in=[one.pk for one in self.recipients]) | Q(teams__in=self.teams) | on_rota


def draft_of(step: EscalationStep) -> StepDraft:
    """The step as it is."""
    return StepDraft(
        list(step.recipients.all()), list(step.teams.all()), list(step.rotas.all()), step.channels, step.wait_s
    )


def reaches(step: StepDraft, *, confirmed: bool = True) -> bool:
    """Whether anybody whom ``step`` may tell can be reached by its channels; ``confirmed``: now, not only one day."""
    one_day = Contact.objects.filter(disabled_at__isnull=True, opted_out_at__isnull=True)
    contacts = Contact.objects.usable() if confirmed else one_day
    contacts = contacts.filter(recipient__in=Recipient.objects.filter(step.people, active=True))
    if step.channels:
        contacts = contacts.filter(channel__in=step.channels)
    return contacts.exists()


def check_policy(steps: Sequence[StepDraft], *, confirmed: bool = True) -> None:
    """There are steps, each has somebody, and they would reach at least one person. Raises ``Refused``."""
    if not 0 < len(steps) <= STEPS_MOST:
        raise Refused(_("A policy has 1 to %(most)d steps.") % {"most": STEPS_MOST})
    for number, step in enumerate(steps, start=1):
        if not (step.recipients or step.teams or step.rotas):
            raise Refused(_("Step %(number)d tells nobody. Choose somebody, or remove it.") % {"number": number})
        if not WAIT_LEAST_S <= step.wait_s <= WAIT_MOST_S:
            raise Refused(
                _("Step %(number)d must wait between %(least)d and %(most)d seconds.")
                % {"number": number, "least": WAIT_LEAST_S, "most": WAIT_MOST_S}
            )
    if not any(reaches(step, confirmed=confirmed) for step in steps):
        raise Refused(
            _(
                "This would reach nobody: none of these people has a confirmed number or address for the ways chosen. "
                "Confirm one first, or choose somebody else."
            )
        )


def save_policy(policy: EscalationPolicy, steps: Sequence[StepDraft], *, confirmed: bool = True) -> EscalationPolicy:
    """Write ``policy`` with these steps in place of its own. Incidents that wait go on by them. Raises ``Refused``."""
    if EscalationPolicy.objects.filter(name__iexact=policy.name).exclude(pk=policy.pk).exists():
        raise Refused(
            _("There is a policy named “%(name)s” already. Choose another name.") % {"name": policy.name}, field="name"
        )
    check_policy(steps, confirmed=confirmed)
    with transaction.atomic():
        policy.save()
        policy.steps.all().delete()
        for order, draft in enumerate(steps):
            step = EscalationStep.objects.create(
                policy=policy, order=order, channels=sorted(draft.channels), wait_s=draft.wait_s
            )
            step.recipients.set(draft.recipients)
            step.teams.set(draft.teams)
            step.rotas.set(draft.rotas)
        touch()
    return policy


def policy_reaches(policy: EscalationPolicy) -> bool:
    """Whether some step of it reaches somebody."""
    return any(reaches(draft_of(step)) for step in policy.steps.all())


def reaching_somebody() -> Q:
    """The rules that tell somebody who can be reached, of themselves or by a step of their policy and its ways."""
    ways: dict[int, set[str]] = {}
    for person, channel in Contact.objects.usable().filter(recipient__active=True).values_list("recipient", "channel"):
        ways.setdefault(person, set()).add(channel)
    return Q(recipients__in=list(ways)) | Q(policy__in=_reaching(ways))


def _reaching(ways: Mapping[int, set[str]]) -> set[int]:
    """The keys of policies with a step that tells one of ``ways`` (people's keys) by a channel they have."""
    found: set[int] = set()
    for path in ("recipients", "teams__members", "rotas__places__recipient", "rotas__on_holidays"):
        for policy, channels, person in EscalationStep.objects.values_list("policy", "channels", path):
            if person in ways and (not channels or ways[person].intersection(channels)):
                found.add(policy)
    return found

"""How an escalation goes on, in words."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from alerts import texts
from alerts.models import EscalationStep


def step_word(step: EscalationStep) -> str:
    """Whom a step tells: “On duty: Nights, Control room, Alice”."""
    on_duty = [_("On duty: %(rota)s") % {"rota": rota} for rota in step.rotas.all()]
    return texts.listed([*on_duty, *map(str, step.teams.all()), *map(str, step.recipients.all())])


def again_word(times: int) -> str:
    """What happens after a policy's last step."""
    if not times:
        return _("nobody else is told")
    return ngettext("all is gone through once more", "all is gone through %(n)d more times", times) % {"n": times}


def wait_word(seconds: int) -> str:
    """“2 min”."""
    if seconds % 60:
        return _("%(n)d s") % {"n": seconds}
    return _("%(n)d min") % {"n": seconds // 60}

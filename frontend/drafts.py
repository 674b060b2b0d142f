"""A proposed change on its way to the rule's form: signed, short-lived, and written nowhere until somebody saves it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from django.core import signing
from django.utils.translation import gettext as _

from alerts import editing
from alerts.history import newest_version
from alerts.models import Rule, Zone
from alerts.rules.config import EmbeddedRule, EmbeddedZone
from alerts.schedule import parts, stored
from streams.models import Camera, View

SALT = "frontend.drafts"
LIVES = timedelta(hours=1)


class BadDraft(ValueError):
    """A draft cannot be taken; the text is a sentence with the remedy."""


class Mask(msgspec.Struct, frozen=True, kw_only=True):
    """An exclusion that is still to be made."""

    view: UUID
    points: list[tuple[float, float]]


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What is to differ from version ``base`` of the rule; None: as it is."""

    rule: UUID
    base: UUID
    config: dict[str, Any] | None = None
    schedule: list[dict[str, Any]] | None = None
    mask: Mask | None = None

    def fill(self, rule: Rule) -> None:
        """Put it into ``rule`` in memory, for its form to show."""
        if self.config is not None:
            rule.config = {**rule.config, **self.config}
        if self.schedule is not None:
            _spans, holidays, on_holidays = parts(rule.schedule)
            rule.schedule = stored(self.schedule, holidays, on_holidays)

    def make_mask(self, camera: Camera) -> Zone | None:
        """Store the mask as a zone of ``camera``; None where the draft has none. Raises ``editing.Refused``."""
        if self.mask is None:
            return None
        view = View.objects.filter(uid=self.mask.view, camera=camera).first()
        if view is None:
            raise editing.Refused(_("The view that the mask was proposed for is gone. Ask for a new proposal."))
        points = [list(point) for point in self.mask.points]
        zone = Zone(view=view, name=_free_name(view), shape="exclusion", points=points)
        editing.save_zone(zone)
        return zone


def _free_name(view: View) -> str:
    taken = set(view.zones.values_list("name", flat=True))
    number = 1
    while (name := _("Mask %(number)d") % {"number": number}) in taken:
        number += 1
    return name


def draft_of(before: EmbeddedRule, after: EmbeddedRule, mask: EmbeddedZone | None = None) -> Draft:
    """What ``after`` changes; ``mask`` is the exclusion that it adds."""
    changed = {name: value for name, value in after.config.items() if before.config.get(name) != value}
    spans = None if after.schedule == before.schedule else msgspec.to_builtins(after.schedule.spans)
    new = None if mask is None else Mask(view=mask.view, points=mask.points)
    return Draft(rule=before.rule, base=before.version, config=changed or None, schedule=spans, mask=new)


def signed(draft: Draft) -> str:
    """The draft as a word for an address."""
    return signing.dumps(msgspec.to_builtins(draft), salt=SALT, compress=True)


def read(text: str, rule: Rule, *, fresh: bool = True) -> Draft:
    """The draft for ``rule`` in an address; ``fresh``: only a young one, of the rule as it is. Raises ``BadDraft``."""
    try:
        draft = msgspec.convert(signing.loads(text, salt=SALT, max_age=LIVES if fresh else None), Draft)
    except signing.SignatureExpired:
        raise BadDraft(_("This draft is more than an hour old. Ask for a new one.")) from None
    except (signing.BadSignature, msgspec.ValidationError):
        raise BadDraft(_("This is no draft of ours. Ask for a new one.")) from None
    if draft.rule != rule.uid:
        raise BadDraft(_("This is a draft of another rule. Ask for a new one."))
    newest = newest_version(rule)
    if fresh and (newest is None or newest.embedded.get("version") != str(draft.base)):
        raise BadDraft(_("The rule was changed since. Ask for a new draft."))
    return draft

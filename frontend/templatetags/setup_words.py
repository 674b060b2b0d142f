"""The set-up screens' words: what a stream is, in figures that an administrator can act on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import template
from django.utils.formats import date_format
from django.utils.translation import get_language, gettext_lazy, pgettext_lazy
from django.utils.translation import gettext as _

from alerts import texts
from alerts.awaited import Standing
from alerts.configuration.said import sentence
from alerts.models import Contact, Recipient, Rule
from alerts.versions import Change
from frontend.change_words import DAYS as WEEKDAYS
from frontend.change_words import title_word, value_word
from frontend.policy_words import again_word, step_word, wait_word
from frontend.setup_forms import ROLE_WORDS
from frontend.tried import Tried
from streams.advice import cost_ms, sub_stream_guess
from streams.credentials import without_login
from streams.models import Source
from streams.probed import Probed
from streams.problems import SENTENCES

register = template.Library()

USUAL_FPS = 25.0
"""Of a camera that does not tell its own."""

_CODECS = {"h264": "H.264", "hevc": "H.265", "mjpeg": "Motion JPEG", "av1": "AV1", "mpeg4": "MPEG-4"}
_ROLES = {
    Source.Role.DETECT: gettext_lazy("Is analysed"),
    Source.Role.RECORD: gettext_lazy("Full picture"),
    Source.Role.VIEW: gettext_lazy("For screens"),
}


@register.filter
def role_word(role: str) -> str:
    """What an address is for."""
    return str(_ROLES.get(role, role))  # type: ignore[call-overload]


register.filter("kind_word", texts.kind_name)


@register.filter
def waits_in_vain(rule: Rule) -> str:
    """Why a sequence that is switched on will never be complete; empty for any other rule."""
    problem = Standing().problem(rule) if rule.enabled else None
    return problem.text if problem is not None else ""


@register.filter
def reason_sentence(code: str) -> str:
    """Why a source gave no picture when it was last tried."""
    return _(SENTENCES[code]) if code in SENTENCES else code


@register.filter
def address_shown(address: str) -> str:
    """An address as it may be shown."""
    return without_login(address, address)


_STATES = {
    "refused": gettext_lazy("refused by the provider"),
    "unsubscribed": gettext_lazy("unsubscribed"),
    "unconfirmed": gettext_lazy("not confirmed yet"),
    "confirmed": pgettext_lazy("contact", "confirmed"),
}


@register.filter
def contact_look(contact: Contact) -> str:
    """How far a contact is: ``refused``, ``unsubscribed``, ``unconfirmed`` or ``confirmed``."""
    if contact.opted_out_at is not None:
        return "unsubscribed"
    if contact.disabled_at is not None:
        return "refused"
    return "unconfirmed" if contact.confirmed_at is None else "confirmed"


@register.filter
def contact_state(contact: Contact) -> str:
    """How far a contact is, in words."""
    return str(_STATES[contact_look(contact)])


register.filter("policy_step_word", step_word)
register.filter("wait_word", wait_word)
register.filter("again_word", again_word)


@register.filter
def in_zone(at: datetime, zone: str) -> str:
    """A moment to the minute by the clock of ``zone``, with its weekday: “Mon 2 Mar 08:00”."""
    local = at.astimezone(ZoneInfo(zone))
    day = date_format(local, "n月j日" if get_language() == "zh-hant" else "j M")
    return f"{WEEKDAYS[local.weekday()]} {day} {local:%H:%M}"


@register.filter
def is_in(recipient: Recipient, keys: Collection[str]) -> bool:
    """Whether ``recipient`` is among ``keys`` (as a form posts them)."""
    return str(recipient.pk) in keys


@register.filter
def sub_stream_offer(tried: Tried) -> str:
    """Where this camera's sub-stream probably is; empty where that is unknown or would gain nothing."""
    big = tried.found.width_px * tried.found.height_px * tried.found.fps > 640 * 480 * 15
    return (sub_stream_guess(tried.address) or "") if big else ""


_FIELDS = {
    "group": gettext_lazy("camera group"),
    "detect": gettext_lazy("address that is analysed"),
    "record": gettext_lazy("full picture"),
    "view": gettext_lazy("address for screens"),
    "login": gettext_lazy("log-in"),
    "enabled": gettext_lazy("on or off"),
}


@register.filter
def field_words(fields: Collection[str]) -> str:
    """What of a camera changes."""
    return texts.listed(str(_FIELDS.get(name, name)) for name in fields)


@register.filter
def facts_of_source(tried: Tried) -> list[tuple[str, str]]:
    """Name and figure of what the stream is."""
    return _facts(tried.found)


@register.filter
def facts_of_found(found: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The same of what was kept when it was last tried, in one line; nothing where there was no picture."""
    if not found or found.get("reason") or not found.get("width_px"):
        return []
    line = _("%(width)d×%(height)d, %(rate)s a second, %(codec)s") % {
        "width": found["width_px"],
        "height": found["height_px"],
        "rate": _rate(found.get("fps") or 0.0),
        "codec": _codec(found.get("codec") or ""),
    }
    return [("", line)]


def _facts(found: Probed) -> list[tuple[str, str]]:
    facts = [(_("Size"), f"{found.width_px}×{found.height_px}")]
    if found.fps:
        facts.append((_("Pictures a second"), _rate(found.fps)))
    facts.append((_("Codec"), _codec(found.codec)))
    if found.gop_s:
        facts.append((_("Whole picture each"), _("%(seconds).1f s") % {"seconds": found.gop_s}))
    elif found.gop_at_least_s:
        facts.append((_("Whole picture each"), _("more than %(seconds).0f s") % {"seconds": found.gop_at_least_s}))
    if found.kbps:
        facts.append((_("Traffic"), _("%(mbit).1f Mbit/s") % {"mbit": found.kbps / 1000}))
    percent = cost_ms(found.width_px, found.height_px, found.fps or USUAL_FPS, found.codec) / 10
    facts.append((_("Costs to read"), _("about %(percent).1f %% of a core") % {"percent": percent}))
    return facts


def _rate(fps: float) -> str:
    return f"{fps:.0f}" if abs(fps - round(fps)) < 0.05 else f"{fps:.1f}"


def _codec(codec: str) -> str:
    return _CODECS.get(codec, codec.upper() or "?")


@register.simple_tag
def role_choices() -> list[tuple[str, str]]:
    """What an address may be for, as the form says it."""
    return [(str(role), str(words)) for role, words in ROLE_WORDS.items()]


@register.filter
def ground_size(ground: dict[str, Any] | None) -> str:
    """What a view's calibration says, in a few words."""
    if ground is None:
        return _("Not calibrated: distances are in picture heights")
    return _("Calibrated by %(width)g × %(depth)g m") % {"width": ground["width_m"], "depth": ground["depth_m"]}


@register.simple_tag
def setup_sentences() -> dict[str, str]:
    """Sentences that the set-up screens' scripts complete."""
    return {
        "trying": _("Asking the camera … {n} s of at most 10"),
        "sending": _("Sending …"),
        "failed": _("That did not work: the server does not answer. Try again."),
        "split": _("User name and password were moved to their own fields."),
        "new_zone": _("New zone"),
        "new_line": _("New line"),
        "new_mask": _("New mask"),
        "edit_zone": _("Change “{name}”"),
        "numbered_zone": _("Zone {n}"),
        "numbered_line": _("Line {n}"),
        "numbered_mask": _("Mask {n}"),
        "ground": _("Calibrate the ground"),
        "delete_zone": _("Delete this zone"),
        "clear_ground": _("Take the calibration away"),
        "sure_clear": _("Take the calibration away? Distances are in picture heights again."),
        "cleared": _("Taken away."),
        "hint_ground": _("Click the four corners of a rectangle on the ground, one after the other around it."),
        "hint_grid": _("Enter the two lengths. The grid must lie flat on the ground: drag a corner until it does."),
        "four_corners": _("The ground needs four corners."),
        "no_rectangle": _("These are not the corners of a rectangle on the ground: one points inwards. Move it out."),
        "two_lengths": _("Enter both lengths in metres, measured on the spot or on a map."),
        "snap_corner": _("On a corner of “{name}”. Hold Alt to put it freely."),
        "snap_edge": _("On the edge of the picture. Hold Alt to put it freely."),
        "hint_idle": _("Press Zone or Line to draw, or choose a zone to change it."),
        "hint_polygon": _("Click the corners in order; click the first one again, or press Enter, to close."),
        "hint_line": _("Click where the line begins, then where it ends. The arrow shows which way counts."),
        "hint_edit": _("Drag a corner to move it, a point between two to add one. Delete removes the chosen corner."),
        "hint_turn": _("The arrow shows which way counts. “Turn round” lets the other way count."),
        "crossing": _("The zone crosses itself. Put the corners in order around it."),
        "too_few": _("A zone needs at least three corners."),
        "one_end": _("A line needs two ends."),
        "saved": _("Saved. Live within five seconds."),
        "deleted": _("Deleted."),
        "sure_delete": _("Delete “{name}”? Rules that have no other zone are switched off."),
        "sure_starve": _(
            "Delete “{name}”? Rules that have no other zone are switched off. These sequences wait for them and will "
            "not fire any more: {sequences}."
        ),
        "polygon": _("polygon"),
        "line": _("directed line"),
        "exclusion": _("mask"),
        "make_rule": _("Make a rule"),
        "walked_none": _("In the last hour nothing moved here, or nothing of it is archived."),
    }


register.filter("title_word", title_word)
register.filter("said", sentence)


@register.filter
def before_word(change: Change) -> str:
    """What it was."""
    return value_word(change.field, change.before)


@register.filter
def after_word(change: Change) -> str:
    """What it is."""
    return value_word(change.field, change.after)


_ENTRIES = {
    "site": gettext_lazy("Site"),
    "camera_group": gettext_lazy("Camera group"),
    "camera": gettext_lazy("Camera"),
    "view": gettext_lazy("View"),
    "zone": gettext_lazy("Zone"),
    "deployment": gettext_lazy("Deployment"),
    "recipient": gettext_lazy("Recipient"),
    "team": gettext_lazy("Team"),
    "rota": gettext_lazy("Rota"),
    "policy": gettext_lazy("Escalation policy"),
    "template": gettext_lazy("Template"),
    "rule": gettext_lazy("Rule"),
    "window": gettext_lazy("Maintenance window"),
    "silence": gettext_lazy("Silence"),
}


@register.filter
def entry_kind(kind: str) -> str:
    """What an entry of the configuration is."""
    return str(_ENTRIES.get(kind, kind))


@register.filter
def entry_name(key: Collection[str]) -> str:
    """What it is called, the widest place first."""
    return " / ".join(key)

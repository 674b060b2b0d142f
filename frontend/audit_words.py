"""What an audit entry's code says to people."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

ACTIONS = {
    # pictures
    "live": _("watched live"),
    "picture": _("looked at an incident’s picture"),
    "thumbnail": _("saw an incident’s small picture"),
    "message": _("looked at a message’s picture"),
    "snapshot": _("took a picture of a camera"),
    "rehearsal-picture": _("looked at a rehearsal’s picture"),
    # incidents
    "acknowledge": _("acknowledged an incident"),
    "resolve": _("resolved an incident"),
    "reopen": _("opened an incident again"),
    "assign": _("handed an incident over"),
    "note": _("wrote a note on an incident"),
    "severity": _("changed an incident’s severity"),
    "open": _("opened an incident by hand"),
    "report": _("reported an incident by program"),
    # silences and maintenance windows
    "silence": _("began a silence"),
    "silence-changed": _("changed a silence"),
    "silence-ended": _("ended a silence"),
    "window-saved": _("saved a maintenance window"),
    "window-deleted": _("deleted a maintenance window"),
    # cameras, zones, rules
    "camera-tried": _("tried a camera’s address"),
    "camera-added": _("added a camera"),
    "camera-changed": _("changed a camera"),
    "camera-on": _("switched a camera on"),
    "camera-off": _("switched a camera off"),
    "camera-deleted": _("deleted a camera"),
    "zone-saved": _("saved a zone"),
    "zone-deleted": _("deleted a zone"),
    "ground-saved": _("calibrated a camera’s ground"),
    "ground-cleared": _("removed a camera’s calibration"),
    "rule-saved": _("saved a rule"),
    "rule-on": _("switched a rule on"),
    "rule-off": _("switched a rule off"),
    "rule-back": _("went back to an earlier rule"),
    "rehearsed": _("rehearsed a rule"),
    "walked": _("looked at tracks of the last hour"),
    "why-asked": _("asked why a rule did not fire"),
    "template-saved": _("saved a template"),
    "template-applied": _("applied a template"),
    "template-override": _("changed a template at a place"),
    "template-deleted": _("deleted a template"),
    "configuration-taken": _("took the configuration as a text"),
    "configuration-brought": _("brought in a configuration"),
    # people
    "person-saved": _("saved a recipient"),
    "contact-added": _("added a number or address"),
    "contact-confirmed": _("confirmed a number or address"),
    "contact-removed": _("removed a number or address"),
    "contact-unsubscribed": _("unsubscribed a number or address"),
    "code-sent": _("had a code sent"),
    "trial-message": _("sent a trial message"),
    "team-saved": _("saved a team"),
    "rota-saved": _("saved a rota"),
    "rota-override": _("changed who is on duty"),
    "rota-feed-on": _("made a rota’s calendar address"),
    "rota-feed-off": _("took back a rota’s calendar address"),
    "policy-saved": _("saved an escalation policy"),
    "policy-deleted": _("deleted an escalation policy"),
}


def said(action: str) -> str:
    """The words for ``action``; the code itself where an older version wrote one that is unknown now.

    >>> said("a-code-of-old")
    'a-code-of-old'
    """
    return str(ACTIONS.get(action, action))

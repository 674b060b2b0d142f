"""One finding, and what a check is given. Pure, and importable where nothing is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

Value = str | int | float
Values = dict[str, Value]


def _(text: str) -> str:
    """Marks a sentence for translation; its words are chosen when it is shown."""
    return text


class State(StrEnum):
    """How it stands. A note is nothing wrong: something that may be had, or that is good to know."""

    OK = "ok"
    NOTE = "note"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. ``text`` and ``advice`` are msgids with ``%(name)s`` places for ``values``.

    ``remedy`` is a command to copy, ``advice`` a sentence where no command does it; what is wrong has one of them.
    """

    code: str
    subject: str
    state: State
    text: str
    remedy: str = ""
    advice: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """``text`` with its values, in English."""
        return filled(self.text, self.values)

    @property
    def advice_sentence(self) -> str:
        """``advice`` with its values, in English."""
        return filled(self.advice, self.values)


def filled(text: str, values: Mapping[str, Value]) -> str:
    """``text``, a msgid or its translation, with its values.

    >>> filled("%(free)s GiB free", {"free": 3.5})
    '3.5 GiB free'
    """
    return text % values if values else text


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at: this machine, the port wanted for the room (0: none), and the installation in ``data``.

    ``environment`` is that of whoever asks. ``pip_failed``: the base packages could not be installed just now.
    """

    data: Path
    port: int
    environment: Mapping[str, str]
    pip_failed: bool = False

    @property
    def has_installation(self) -> bool:
        """Whether ``data`` holds what ``up`` makes at its first start."""
        return all((self.data / name).exists() for name in ("key.secret", "cookie.secret"))

    def as_option(self) -> str:
        """``--data DIR`` for a command to copy, with a blank before it; nothing for the usual folder."""
        from monitor.instance import BASE_DIR

        return "" if self.data == BASE_DIR / "data" else f" --data {self.data}"


def to_wire(finding: Finding) -> dict[str, Any]:
    """The finding as JSON carries it: the sentences for people, and what a translation needs."""
    return {
        "code": finding.code,
        "subject": finding.subject,
        "state": str(finding.state),
        "text": finding.sentence,
        "remedy": finding.remedy,
        "advice": finding.advice_sentence,
        "message": {"text": finding.text, "advice": finding.advice, "values": dict(finding.values)},
    }


def from_wire(wire: Mapping[str, Any]) -> Finding:
    """The inverse of ``to_wire``. Raises ``KeyError`` or ``ValueError`` for something else."""
    message = wire["message"]
    return Finding(
        wire["code"],
        wire["subject"],
        State(wire["state"]),
        message["text"],
        wire["remedy"],
        message["advice"],
        message["values"],
    )


def wrong(findings: Iterable[Finding]) -> list[Finding]:
    """Those that somebody must mend."""
    return [one for one in findings if one.state is State.WRONG]

"""JSON that a person typed, read strictly: no NaN, no number out of range, no key twice, nothing nested deeply."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.fields import InvalidJSONInput
from django.utils.translation import gettext as _

DEEPEST = 8
"""Levels; a list of masks, the deepest that is asked for, has three."""
LONGEST = 200_000
"""Characters."""
_STRING = re.compile(r'"(?:\\.|[^"\\])*"')


def read(text: str) -> Any:
    """The value of ``text``. Raises ``ValidationError`` with what is wrong and the remedy."""
    if len(text) > LONGEST:
        raise ValidationError(
            _("This has %(got)d characters; %(most)d are allowed.") % {"got": len(text), "most": LONGEST}
        )
    if _depth(text) > DEEPEST:
        raise ValidationError(_("This is nested deeper than %(most)d levels. Write plain lists.") % {"most": DEEPEST})
    try:
        return json.loads(
            text, object_pairs_hook=_pairs, parse_constant=_number, parse_float=_number, parse_int=_number
        )
    except json.JSONDecodeError as error:
        raise ValidationError(
            _("This is no JSON: line %(line)d, column %(column)d. Write for example [[0.1, 0.5], [0.4, 0.5]].")
            % {"line": error.lineno, "column": error.colno}
        ) from None


def _depth(text: str) -> int:
    """How deep brackets are nested, strings aside."""
    deepest = now = 0
    for mark in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        now += 1 if mark in "[{" else -1
        deepest = max(deepest, now)
    return deepest


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for number, (key, _value) in enumerate(pairs) if key in dict(pairs[:number]))
        raise ValidationError(_("“%(key)s” stands there twice. Remove one of them.") % {"key": twice[:60]})
    return found


def _number(text: str) -> float | int:
    value = float(text)
    if not math.isfinite(value) or abs(value) > 1e9:
        raise ValidationError(_("“%(number)s” is no ordinary number. Write another.") % {"number": text[:30]})
    return value if any(mark in text for mark in ".eE") else int(text)


class StrictJsonField(forms.JSONField):
    """A form field for it."""

    def to_python(self, value: Any) -> Any:
        """Raises ``ValidationError``."""
        if self.disabled or not isinstance(value, str) or value in self.empty_values:
            return super().to_python(value)
        return read(value)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed comes back as it was where it cannot be read."""
        if self.disabled or data is None:
            return initial
        try:
            return read(data)
        except ValidationError:
            return InvalidJSONInput(data)

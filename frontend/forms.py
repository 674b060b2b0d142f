"""Forms from frozen configs: a ``msgspec.Struct`` with ``Meta(title, description, ge, …)`` becomes Django form fields.

So a new kind of rule has its form, its bounds, its help and its error messages without a line of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from django import forms
from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _
from msgspec import inspect
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from alerts.models import Rule
from alerts.rules.counting import KIND as COUNTING

Struct = type[msgspec.Struct]
CHOICES = (
    gettext_noop("quiet"),
    gettext_noop("interval"),
    gettext_noop("both"),
    gettext_noop("forward"),
    gettext_noop("backward"),
    gettext_noop("bottom"),
    gettext_noop("overlap"),
    gettext_noop("seen"),
    gettext_noop("any"),
    gettext_noop("above"),
    gettext_noop("below"),
)
"""What settings of a few words can be. Marked for translation here; one without a translation shows as it is stored."""


class Unsupported(TypeError):
    """A config has a field of a type that no form field exists for; the text names both."""


class WordsField(forms.CharField):
    """A list of words, written with commas between them."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(str(word) for word in value) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> Any:
        words = value if isinstance(value, list | tuple) else (super().to_python(value) or "").split(",")
        return [word.strip() for word in words if word.strip()]

    def run_validators(self, value: Any) -> None:
        """The words are checked by the config, not as one text."""


class NumbersField(forms.CharField):
    """A number for each of some words, written as “fire 0.4, smoke 0.5”."""

    widget = UnfoldAdminTextInputWidget

    def prepare_value(self, value: Any) -> Any:
        """As a person writes it."""
        return (
            ", ".join(f"{word} {number:g}" for word, number in value.items()) if isinstance(value, Mapping) else value
        )

    def to_python(self, value: Any) -> Any:
        """Word → number. Raises ``ValidationError`` with the part that is none."""
        if isinstance(value, Mapping):
            return dict(value)
        found: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in (super().to_python(value) or "").split(","))):
            word, number = _word_and_number(part)
            if word in found:
                raise forms.ValidationError(gettext("“%(word)s” stands there twice.") % {"word": word})
            found[word] = number
        return found

    def run_validators(self, value: Any) -> None:
        """The numbers are checked by the config, not as one text."""


def _word_and_number(part: str) -> tuple[str, float]:
    word, _colon, number = part.replace("=", " ").replace(":", " ").strip().rpartition(" ")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not word.strip() or not math.isfinite(value):
        raise forms.ValidationError(
            gettext("“%(part)s” is no word with a number. Write for example fire 0.4, smoke 0.5.") % {"part": part[:60]}
        )
    return word.strip(), value


class RuleField(forms.ModelChoiceField[Rule]):
    """One of the rules, chosen by its name; the setting holds its ``uid``."""

    widget = UnfoldAdminSelectWidget

    def __init__(self, queryset: QuerySet[Rule], **shown: Any) -> None:
        super().__init__(queryset, to_field_name="uid", **shown)

    def clean(self, value: Any) -> str:
        """The ``uid`` of the chosen one. Raises ``ValidationError`` for one that is not offered."""
        found = super().clean(value)
        return str(found.uid) if found is not None else ""


def fields_for(struct: Struct) -> dict[str, forms.Field]:
    """A form field for each setting of ``struct``, in its order. Raises ``Unsupported``."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.name: _field(struct, field) for field in info.fields}


def initial_for(struct: Struct, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the form shows first: ``values``, and the config's own defaults for what they leave out."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    found = {field.name: _default(field) for field in info.fields}
    return found | {name: value for name, value in (values or {}).items() if name in found}


def values_from(struct: Struct, cleaned: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of ``struct``'s settings out of a form's ``cleaned_data``; an empty optional one is null."""
    return {
        name: (None if cleaned[name] == "" else cleaned[name]) for name in struct.__struct_fields__ if name in cleaned
    }


def _default(field: inspect.Field) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default


def _field(struct: Struct, field: inspect.Field) -> forms.Field:
    kind, words = _unwrapped(field.type)
    kind, optional = _without_none(kind)
    shown: dict[str, Any] = {
        "label": _translated(words.get("title") or field.name.replace("_", " ").capitalize()),
        "help_text": _translated(words.get("description", "")),
        "required": not optional,
    }
    match kind:
        case inspect.BoolType():
            return forms.BooleanField(**shown | {"required": False}, widget=UnfoldBooleanSwitchWidget)
        case inspect.IntType():
            return forms.IntegerField(**shown, **_bounds(kind), widget=UnfoldAdminIntegerFieldWidget)
        case inspect.FloatType():
            return _number(shown, kind)
        case inspect.LiteralType():
            choices = [(value, _translated(str(value))) for value in kind.values]
            return forms.ChoiceField(**shown, choices=choices, widget=UnfoldAdminSelectWidget)
        case inspect.StrType() if words.get("format") == "rule":
            # What only counts is nothing to wait for.
            return RuleField(Rule.objects.exclude(kind=COUNTING).order_by("name"), **shown)
        case inspect.StrType():
            limits: dict[str, Any] = {"min_length": kind.min_length, "max_length": kind.max_length}
            return forms.CharField(**shown, **limits, widget=UnfoldAdminTextInputWidget)
        case inspect.ListType(item_type=item) if isinstance(_unwrapped(item)[0], inspect.StrType):
            return WordsField(**shown | {"required": bool(kind.min_length)})
        case inspect.DictType(key_type=key, value_type=item) if _is_numbers(key, item):
            return NumbersField(**shown | {"required": bool(kind.min_length)})
    raise Unsupported(
        f"{struct.__name__}.{field.name}: expected bool, int, float, str, a Literal, a list of str or numbers by str, "
        f"got {type(kind).__name__}; give frontend.forms a field for it"
    )


def _is_numbers(key: inspect.Type, item: inspect.Type) -> bool:
    return isinstance(_unwrapped(key)[0], inspect.StrType | inspect.LiteralType) and isinstance(
        _unwrapped(item)[0], inspect.FloatType | inspect.IntType
    )


def _number(shown: dict[str, Any], kind: inspect.FloatType) -> forms.FloatField:
    widget = forms.NumberInput(attrs={"step": "any", "class": " ".join(INPUT_CLASSES)})
    return forms.FloatField(**shown, **_bounds(kind), widget=widget)


def _bounds(kind: inspect.IntType | inspect.FloatType) -> dict[str, Any]:
    """Open bounds come as closed ones; the config itself refuses the end point."""
    low = kind.ge if kind.ge is not None else kind.gt
    high = kind.le if kind.le is not None else kind.lt
    return {"min_value": low, "max_value": high}


def _unwrapped(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    if isinstance(kind, inspect.Metadata):
        return kind.type, dict(kind.extra_json_schema or {})
    return kind, {}


def _without_none(kind: inspect.Type) -> tuple[inspect.Type, bool]:
    if isinstance(kind, inspect.UnionType):
        others = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
        if len(others) == 1:
            return _unwrapped(others[0])[0], len(others) < len(kind.types)
    return kind, False


def _translated(text: str) -> str | Promise:
    """In the reader's language. An empty text is none: gettext would answer it with its own header."""
    return _(text) if text else ""

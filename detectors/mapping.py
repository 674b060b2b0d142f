"""The form field that maps a model's own classes to our labels: one choice a class, one of them "not used"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from detectors.labels import LABELS, family

Classes = list[dict[str, str]]
"""``[{"name": the model's own word, "label": ours or ""}]`` in the order of the model's outputs."""


class MappingWidget(forms.Widget):
    """A table: the class, and a select. Written here and not as a template: 80 selects of 95 options."""

    label_name: Callable[[str], str] = staticmethod(lambda label: label)
    """A label in the words of whoever looks."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        classes: Classes = value or []
        head = format_html(
            "<thead><tr><th>{}</th><th>{}</th></tr></thead>", _("The model’s class"), _("Is reported as")
        )
        options = self._options()
        rows = [self._row(name, number, one, options) for number, one in enumerate(classes)]
        body = format_html_join("", "{}", ((row,) for row in rows))
        return format_html('<table class="mapping">{}<tbody>{}</tbody></table>', head, body)

    def _row(
        self, name: str, number: int, one: Mapping[str, str], options: Sequence[tuple[str, SafeString]]
    ) -> SafeString:
        chosen = one.get("label", "")
        shown = mark_safe("".join(_selected(html) if label == chosen else html for label, html in options))
        return format_html(
            '<tr{}><td>{}</td><td><select name="{}-{}" aria-label="{}">{}</select></td></tr>',
            mark_safe("") if chosen else mark_safe(' class="unused"'),
            one.get("name", ""),
            name,
            number,
            one.get("name", ""),
            shown,
        )

    def _options(self) -> list[tuple[str, SafeString]]:
        known = sorted(LABELS, key=lambda label: (family(label), label != family(label), label))
        named = [("", _("– not used –"))] + [(label, self._indented(label)) for label in known]
        return [(label, format_html('<option value="{}">{}</option>', label, words)) for label, words in named]

    def _indented(self, label: str) -> str:
        return self.label_name(label) if family(label) == label else f"\u2003{self.label_name(label)}"

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        """The labels, in the order of the classes."""
        labels: list[str] = []
        while (chosen := data.get(f"{name}-{len(labels)}")) is not None:
            labels.append(chosen)
        return labels

    def id_for_label(self, id_: str) -> str:
        """None: there are many."""
        return ""


def _selected(option: SafeString) -> str:
    return option.replace("<option ", "<option selected ", 1)


class MappingField(forms.Field):
    """Labels of all classes; at least one is used."""

    widget = MappingWidget

    def __init__(self, *, classes: Sequence[Mapping[str, str]] = (), **kwargs: Any) -> None:
        super().__init__(**{"required": False, **kwargs})
        self.classes = [dict(one) for one in classes]

    def clean(self, value: Any) -> Classes:
        """Raises ``ValidationError`` for another number of labels than classes, or one that the tree does not have."""
        labels = list(value or [])
        if len(labels) != len(self.classes) or not set(labels) <= LABELS | {""}:
            raise forms.ValidationError(_("This page is out of date. Load it again."))
        if labels and not any(labels):
            raise forms.ValidationError(_("At least one class must be reported."))
        return [{**one, "label": label} for one, label in zip(self.classes, labels, strict=True)]

    def prepare_value(self, value: Any) -> Any:
        """After an error: what was chosen, beside the classes."""
        if value and isinstance(value[0], str):
            return [{**one, "label": label} for one, label in zip(self.classes, value, strict=False)]
        return value or self.classes

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Whether a label differs."""
        return [one["label"] for one in self.classes] != list(data or [])

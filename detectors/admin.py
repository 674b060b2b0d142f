"""The administrator's pages for models and where they run."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.forms import ModelForm
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget

from detectors.labels import UnknownLabel, check
from detectors.models import Deployment, Model
from streams.admin import Page

CONDITIONS = {"on_motion": gettext_lazy("when something changes"), "always": gettext_lazy("always")}


class RegisteredForm(ModelForm[Model]):
    """A registered model; its labels must be terms of our tree."""

    class Meta:
        model = Model
        fields = ("name", "version", "backend", "card", "path", "sha256", "licence", "labels")

    def clean_labels(self) -> list[str]:
        """Known labels only: a rule that asks for another could never fire."""
        labels = self.cleaned_data["labels"] or []
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise forms.ValidationError(_("Labels are a list of words, for example [“person”, “car”]."))
        try:
            check(labels)
        except UnknownLabel as error:
            raise forms.ValidationError(str(error)) from None
        return labels


@admin.register(Model)
class ModelsAdmin(Page):
    """Registered model versions, each with what is wrong with it."""

    form = RegisteredForm
    list_display = ("name", "version", "backend", "licence", "problem")
    readonly_fields = ("problem",)
    fieldsets = (
        (None, {"fields": (("name", "version"), ("backend", "card"), "path", "sha256", "licence", "problem")}),
        (gettext_lazy("Labels"), {"fields": ("labels",), "classes": ("collapse",)}),
    )


class DeploymentForm(ModelForm[Deployment]):
    """Where a model runs; its condition is a plain choice."""

    when = forms.ChoiceField(
        label=gettext_lazy("Runs"), choices=list(CONDITIONS.items()), widget=UnfoldAdminSelectWidget()
    )

    class Meta:
        model = Deployment
        fields = ("name", "model", "pool", "enabled", "all_cameras", "cameras", "hz")
        help_texts: ClassVar[dict[str, Any]] = {
            "pool": gettext_lazy("Workers of the same pool share its work."),
            "hz": gettext_lazy("At most so many pictures a second of each camera."),
            "cameras": gettext_lazy("Counts only when it does not run on all cameras."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["when"].initial = self.instance.condition.get("kind", "on_motion")

    def clean_hz(self) -> float:
        """Between one picture in a minute and thirty a second."""
        hz: float = self.cleaned_data["hz"]
        if not 1 / 60 <= hz <= 30:
            raise forms.ValidationError(_("Choose 0.02 to 30 pictures a second."))
        return hz

    def save(self, commit: bool = True) -> Deployment:
        """The choice becomes the condition's wire form."""
        self.instance.condition = {"kind": self.cleaned_data["when"]}
        return super().save(commit)


@admin.register(Deployment)
class DeploymentAdmin(Page):
    """The choice to run a model on some cameras."""

    form = DeploymentForm
    list_display = ("name", "model", "pool", "hz", "enabled")
    list_select_related = ("model",)
    fieldsets = ((None, {"fields": ("name", ("model", "pool"), ("when", "hz"), "enabled", "all_cameras", "cameras")}),)

"""The administrator's pages for models and where they run."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget

from detectors.backends.base import Card, ModelMissing, ModelProblem
from detectors.candidate_admin import CandidateAdmin, backend_choices
from detectors.candidates import UNDER_WAY
from detectors.intake import remove, store
from detectors.loading import locate
from detectors.mapping import MappingField
from detectors.models import Candidate, Deployment, Model
from detectors.registry import AUTO, resolve
from detectors.runtimes import missing
from detectors.stored import spec_of
from detectors.unpack import megabytes
from streams.admin import Page

CONDITIONS = {"on_motion": gettext_lazy("when something changes"), "always": gettext_lazy("always")}
DEVICES = (
    ("auto", gettext_lazy("the best there is")),
    ("CPU", "CPU"),
    ("GPU", "GPU"),
    ("CUDA", "CUDA"),
    ("NPU", "NPU"),
)


def card_of(model: Model) -> Card | None:
    """The card of a registered model; None where it cannot be read, which the model's problem says."""
    try:
        return locate(spec_of(model), store())[0]
    except ModelProblem:
        return None


def classes_of(model: Model) -> list[dict[str, str]]:
    """Its classes; those of a model that came without names are called as our labels."""
    if model.classes or not model.pk:
        return list(model.classes)
    try:
        card = card_of(model)
        return [{"name": label, "label": label} for label in (card.classes if card else ())]
    except ModelProblem:
        return []


def usable(model: Model) -> str:
    """Why ``model`` cannot run here; empty when it can."""
    try:
        path = locate(spec_of(model), store())[1]
        if not path.exists():
            raise ModelMissing(f"{model}: expected the model at {path}, got nothing; add it again")
        return missing(resolve(model.backend, path)) or model.problem
    except ModelProblem as problem:
        return str(problem)


class RegisteredForm(ModelForm[Model]):
    """A registered model: what it is called, what runs it, and what its classes are to us."""

    classes = MappingField(label=gettext_lazy("Classes"))

    class Meta:
        model = Model
        fields = ("name", "licence", "backend", "device", "classes")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = classes_of(self.instance)
        mapping = cast(MappingField, self.fields["classes"])
        mapping.classes = self.initial["classes"] = known
        pinned = self.instance.device
        choices = DEVICES if pinned in dict(DEVICES) else (*DEVICES, (pinned, pinned))
        self.fields["backend"] = _select(gettext_lazy("Runs on"), backend_choices(), self.instance.backend)
        self.fields["device"] = _select(gettext_lazy("Device"), choices, pinned)

    def clean_backend(self) -> str:
        """One that is installed, unless it was chosen before."""
        backend: str = self.cleaned_data["backend"]
        if backend not in (AUTO, self.instance.backend) and (why := missing(backend)):
            raise forms.ValidationError(why)
        return backend

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if mapped := self.cleaned_data.get("classes"):
            self.instance.labels = sorted({one["label"] for one in mapped} - {""})


def _select(label: Any, choices: Any, initial: str) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=choices, initial=initial, widget=UnfoldAdminSelectWidget())


@admin.register(Model)
class ModelsAdmin(Page):
    """Registered model versions, each with what it costs here and what is wrong with it."""

    form = RegisteredForm
    list_display = ("name", "version", "runs_on", "speed", "licence", "state")
    list_before_template = "detectors/candidates.html"
    readonly_fields = ("version", "state", "speed", "network", "file", "sha256", "origin", "used_by")
    fieldsets = (
        (None, {"fields": (("name", "version"), "state", ("backend", "device"), "speed", "used_by")}),
        (gettext_lazy("What it reports"), {"fields": ("classes",)}),
        (gettext_lazy("Where it is from"), {"fields": ("licence", "origin", "network", "file", "sha256")}),
    )

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """A model is added by handing it in for its check."""
        pages = cast(CandidateAdmin, self.admin_site.get_model_admin(Candidate))
        context = {"title": _("Add a model"), **(extra_context or {})}
        response: HttpResponse = pages.add_view(request, request.path, context)
        return response

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """With those on their way in above the list; while a check is under way the page loads itself again."""
        candidates = list(Candidate.objects.exclude(state=Candidate.State.TAKEN)[:10])
        context = {"candidates": candidates, **(extra_context or {})}
        response: HttpResponse = super().changelist_view(request, context)
        if any(one.state in UNDER_WAY for one in candidates):
            response["Refresh"] = "3"
        return response

    @admin.display(description=gettext_lazy("runs on"))
    def runs_on(self, model: Model) -> str:
        """The runtime."""
        return str(dict(backend_choices()).get(model.backend, model.backend))

    @admin.display(description=gettext_lazy("a picture takes"))
    def speed(self, model: Model) -> str:
        """As it was measured on this machine."""
        if model.latency_ms is None and model.card:
            return _("not measured here; add it by its name, and it is measured")
        if model.latency_ms is None:
            return _("not measured here")
        return _("%(wall).0f ms, %(cpu).0f ms of CPU (%(where)s)") % {
            "wall": model.latency_ms,
            "cpu": model.cpu_ms or 0,
            "where": model.measured_on,
        }

    @admin.display(description=gettext_lazy("state"))
    def state(self, model: Model) -> str:
        """Usable, or what is wrong and what to do about it."""
        return usable(model) or _("usable")

    @admin.display(description=gettext_lazy("network"))
    def network(self, model: Model) -> str:
        """Head and input."""
        card = card_of(model)
        return (
            f"{card.head.kind}, {card.input.width_px}×{card.input.height_px} {card.input.colour.upper()}"
            if card
            else "–"
        )

    @admin.display(description=gettext_lazy("file"))
    def file(self, model: Model) -> str:
        """Which, and how large."""
        try:
            path = locate(spec_of(model), store())[1]
            parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
            return f"{path.name}, {megabytes(sum(part.stat().st_size for part in parts))}"
        except (ModelProblem, OSError) as error:
            return str(error)

    @admin.display(description=gettext_lazy("origin"))
    def origin(self, model: Model) -> str:
        """Where it was fetched, as its card says."""
        card = card_of(model)
        return (card.origin if card else "") or "–"

    @admin.display(description=gettext_lazy("used by"))
    def used_by(self, model: Model) -> str:
        """Deployments; while there are any, the model stays."""
        names = [deployment.name for deployment in model.deployments.all()]
        if not names:
            return _("no deployment; it can be deleted")
        return _("%(names)s; it cannot be deleted before they have another model") % {"names": ", ".join(names)}

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Not while a deployment names it: why stands on the page."""
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and (obj is None or not obj.deployments.exists())

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        """With its files."""
        remove(obj)


class DeploymentForm(ModelForm[Deployment]):
    """Where a model runs; its condition is a plain choice."""

    when = forms.ChoiceField(
        label=gettext_lazy("Runs"), choices=list(CONDITIONS.items()), widget=UnfoldAdminSelectWidget()
    )

    class Meta:
        model = Deployment
        fields = ("name", "model", "pool", "enabled", "all_cameras", "cameras", "hz", "static_regions")
        help_texts: ClassVar[dict[str, Any]] = {
            "pool": gettext_lazy("Workers of the same pool share its work."),
            "hz": gettext_lazy("At most so many pictures a second of each camera."),
            "cameras": gettext_lazy("Counts only when it does not run on all cameras."),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["when"].initial = self.instance.condition.get("kind", "on_motion")
        cast(Any, self.fields["model"]).label_from_instance = in_a_list

    def clean_model(self) -> Model:
        """One that can run here, unless it is the one that runs already."""
        model: Model = self.cleaned_data["model"]
        if model.pk != self.instance.model_id and (why := usable(model)):
            raise forms.ValidationError(_("%(model)s cannot run here: %(why)s") % {"model": model, "why": why})
        return model

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


def in_a_list(model: Model) -> str:
    """A model with what one must know to choose it."""
    if why := usable(model):
        return _("%(model)s – cannot run here: %(why)s") % {"model": model, "why": why[:80]}
    if model.latency_ms is None:
        return _("%(model)s – usable") % {"model": model}
    return _("%(model)s – usable, %(ms).0f ms a picture") % {"model": model, "ms": model.latency_ms}


@admin.register(Deployment)
class DeploymentAdmin(Page):
    """The choice to run a model on some cameras."""

    form = DeploymentForm
    list_display = ("name", "model", "pool", "hz", "enabled", "state")
    list_select_related = ("model",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "model",
                    ("pool", "enabled"),
                    ("when", "hz"),
                    "static_regions",
                    "all_cameras",
                    "cameras",
                )
            },
        ),
    )

    @admin.display(description=gettext_lazy("model’s state"))
    def state(self, deployment: Deployment) -> str:
        """What keeps its model from running."""
        return usable(deployment.model) or _("usable")

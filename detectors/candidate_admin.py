"""The administrator's page on which a model is handed in, and on which one watches its check."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.db import transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from detectors import candidates, intake, registry
from detectors.candidates import UNDER_WAY
from detectors.known import KNOWN
from detectors.models import Candidate
from detectors.registry import AUTO
from detectors.runtimes import missing, runtime_name
from detectors.unpack import megabytes
from streams.admin import Page
from streams.ids import new_uid

KINDS = ".onnx,.zip,.xml,.pt"
REFRESH_S = "2"


def backend_choices() -> list[tuple[str, str]]:
    """For a select: automatic, then every backend, with what is missing."""
    marked = [
        (key, f"{runtime_name(key)} – {why}" if (why := missing(key)) else runtime_name(key))
        for key in registry.BACKENDS
    ]
    return [(AUTO, _("automatic")), *marked]


def known_choices() -> list[tuple[str, Any]]:
    """Models that have a name here, with their licences."""
    named = [(one.name, f"{one.name} – {one.licence}, {one.words}") for one in KNOWN.values()]
    return [("", _("– a file of mine –")), *named]


class CandidateForm(ModelForm[Candidate]):
    """A known name or a file."""

    known = forms.ChoiceField(
        label=gettext_lazy("Known model"), required=False, choices=known_choices, widget=UnfoldAdminSelectWidget()
    )
    upload = forms.FileField(
        label=gettext_lazy("File"),
        required=False,
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": KINDS}),
    )

    class Meta:
        model = Candidate
        fields = ("name", "licence", "backend", "labels")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["known"].help_text = _("Fetched from its makers; this machine needs internet for that.")
        self.fields["upload"].help_text = _(
            "ONNX, or a .zip of an OpenVINO .xml with its .bin, at most %(most)s. A .pt runs where Ultralytics is "
            "installed."
        ) % {"most": megabytes(settings.MODEL_MAX_BYTES)}
        self.fields["backend"] = forms.ChoiceField(
            label=_("Runs on"), choices=backend_choices(), initial=AUTO, widget=UnfoldAdminSelectWidget()
        )
        self.fields["name"].help_text = _("Empty: by its file.")
        self.fields["labels"].help_text = _(
            "Only where the file does not name them, in their order: person, -, car; “-” is not used. For the 80 of "
            "COCO write coco-80. What each is reported as can be changed once it is in."
        )
        self.fields["licence"].help_text = _("Under which you may use it. Empty: as its makers say.")

    def clean_backend(self) -> str:
        """One that is installed."""
        backend: str = self.cleaned_data["backend"]
        if backend != AUTO and (why := missing(backend)):
            raise forms.ValidationError(why)
        return backend

    def clean_upload(self) -> UploadedFile[bytes] | None:
        """A kind that can be a model; its content is for the trial to judge."""
        upload: UploadedFile[bytes] | None = self.cleaned_data["upload"]
        if upload and Path(upload.name or "").suffix.lower() not in KINDS.split(","):
            raise forms.ValidationError(_("Choose a file of one of these kinds: %(kinds)s.") % {"kinds": KINDS})
        return upload

    def clean(self) -> dict[str, Any]:
        """Exactly one of the two."""
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and bool(cleaned.get("known")) == bool(cleaned.get("upload")):
            raise forms.ValidationError(
                _("Choose a known model or a file of at most %(most)s, one of the two.")
                % {"most": megabytes(settings.MODEL_MAX_BYTES)}
            )
        return cleaned


def keep(upload: UploadedFile[bytes]) -> str:
    """Put an upload among what comes in, under a name of ours; a large one is moved and not copied."""
    name = f"{new_uid()}-upload"
    target = intake.incoming() / name
    if isinstance(upload, TemporaryUploadedFile):
        shutil.move(upload.temporary_file_path(), target)
    else:
        with target.open("xb") as file:
            for chunk in upload.chunks():
                file.write(chunk)
    os.chmod(target, 0o600)
    return name


@admin.register(Candidate)
class CandidateAdmin(Page):
    """Models on their way in. None is edited: one is handed in, watched, and put aside."""

    form = CandidateForm
    list_display = ("what", "state", "progress", "problem", "created_at")
    readonly_fields = ("what", "stage", "problem", "created_at")
    change_form_outer_after_template = "detectors/again.html"

    def get_form(self, request: HttpRequest, obj: Candidate | None = None, change: bool = False, **kwargs: Any) -> Any:
        """Nothing to fill in on the page of one that is there."""
        form = CandidateForm if obj is None else ModelForm
        return super().get_form(request, obj, change, **{**kwargs, "form": form})

    def get_fieldsets(self, request: HttpRequest, obj: Candidate | None = None) -> Any:
        """What is asked for, or how far it is."""
        if obj is None:
            return ((None, {"fields": ("known", "upload", ("name", "licence"), "backend", "labels")}),)
        return ((None, {"fields": ("what", "stage", *(("problem",) if obj.problem else ()), "created_at")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Candidate | None = None) -> Any:
        """All of one that is there."""
        return self.readonly_fields if obj else ()

    @admin.display(description=gettext_lazy("state"))
    def stage(self, candidate: Candidate) -> str:
        """State and progress."""
        words = str(candidate.get_state_display())
        return f"{words}: {candidate.progress}" if candidate.progress else words

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only looked at."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not while a worker reads its file."""
        allowed: bool = super().has_delete_permission(request, obj)
        return allowed and (obj is None or obj.state != Candidate.State.CHECKING)

    def save_model(self, request: HttpRequest, obj: Candidate, form: Any, change: bool) -> None:
        """Keep the file, then ask a worker."""
        upload = form.cleaned_data["upload"]
        obj.what = (upload.name if upload else form.cleaned_data["known"])[:300]
        obj.file = keep(upload) if upload else ""
        candidates.tidy()
        obj.save()
        transaction.on_commit(lambda: candidates.publish_soon(obj))

    def delete_model(self, request: HttpRequest, obj: Candidate) -> None:
        """With its file."""
        candidates.discard(obj)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """On to where one watches."""
        return HttpResponseRedirect(reverse("admin:detectors_candidate_change", args=[obj.pk]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Loads itself again while the check is under way; then shows the model, or why it was refused."""
        candidate = Candidate.objects.filter(pk=object_id).first() if object_id.isdigit() else None
        if candidate and candidate.state == Candidate.State.TAKEN and candidate.model_id:
            messages.success(request, _("“%(what)s” passed its check and is in.") % {"what": candidate.what})
            return HttpResponseRedirect(reverse("admin:detectors_model_change", args=[candidate.model_id]))
        under_way = candidate is not None and candidate.state in UNDER_WAY
        context = {"candidate": candidate, "under_way": under_way, "title": _("A model on its way in")}
        response: HttpResponse = super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})
        if under_way:
            response["Refresh"] = REFRESH_S
        return response

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        """One button: there is one thing to do."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, **kwargs)

    def get_urls(self) -> Any:
        """With the address that asks a worker once more."""
        again = path("<int:pk>/again/", self.admin_site.admin_view(self.again), name="detectors_candidate_again")
        return [again, *super().get_urls()]

    def again(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask a worker once more: the last one may have died, or the broker."""
        candidate = get_object_or_404(Candidate, pk=pk)
        if request.method == "POST" and candidate.state in UNDER_WAY:
            candidates.publish_soon(candidate)
        return HttpResponseRedirect(reverse("admin:detectors_candidate_change", args=[pk]))

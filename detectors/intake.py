"""Taking a model in: refuse by kind and size, try it in a bounded child, and only then give it a place and a row.

A failure at any step leaves nothing: neither a file below ``DATA_DIR/models`` nor a row.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import IntegrityError, transaction

from detectors import convert, registry
from detectors.backends.base import Card, ModelBroken
from detectors.backends.base import digest as digest_of
from detectors.bounded import Bounds, ending, run_bounded
from detectors.card_file import card_text
from detectors.convert import can_convert
from detectors.models import Model
from detectors.registry import AUTO
from detectors.tryout_orders import Order, Verdict
from detectors.unpack import Parcel, Refused, check_room, unpack
from streams.ids import new_uid

INCOMING = ".incoming"
"""Folder of what is on its way, on the same disk as the models, so that taking in is a rename."""
TRIAL, CONVERTER = "detectors.tryout", "detectors.convert"
Told = Callable[[str], None]


def split_labels(text: str) -> tuple[str, ...]:
    """What a person types for labels.

    >>> split_labels("person, -,car")
    ('person', '-', 'car')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())


def store() -> Path:
    """Where models are."""
    return Path(settings.DATA_DIR) / "models"


def incoming() -> Path:
    """Where what is on its way is kept; made if need be."""
    folder = store() / INCOMING
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def bounds() -> Bounds:
    """Of one trial, as the settings have them."""
    return Bounds(wall_s=float(settings.MODEL_TRIAL_S), cpu_s=settings.MODEL_TRIAL_S)


def take_in(
    file: Path,
    *,
    what: str = "",
    name: str = "",
    licence: str = "",
    origin: str = "",
    labels: tuple[str, ...] = (),
    backend: str = AUTO,
    device: str = "auto",
    within: Bounds | None = None,
    tell: Told = lambda words: None,
) -> Model:
    """Check the model in ``file`` (or folder, or zip) and register it. Raises ``ModelProblem``; then nothing is left.

    ``what``: what people call the file, where it is stored under another name. Blocks while the trial lasts.
    """
    what, within = what or file.name, within or bounds()
    with _workplace() as folder:
        tell("reading")
        check_room(folder, min(_size(file), settings.MODEL_MAX_BYTES), what)
        parcel = unpack(file, folder, name=what, most_bytes=settings.MODEL_MAX_BYTES)
        if parcel.weights.suffix == ".pt" and backend != "ultralytics" and can_convert():
            tell("being converted to ONNX")
            parcel = Parcel(to_onnx(parcel.weights, what, folder, within), parcel.card)
        order = Order(
            weights=str(parcel.weights),
            card=str(parcel.card or ""),
            name=name or Path(what).stem,
            what=what,
            labels=labels,
            backend=backend,
            device=device,
            bounds=within,
        )
        tell("being tried")
        verdict = try_out(order, folder)
        assert verdict.card is not None
        tell("registering")
        digest = digest_of(parcel.weights, what)
        card = _final_card(verdict.card, parcel, name, licence, origin, digest)
        return _register(folder, card, verdict, digest, backend, device)


def to_onnx(weights: Path, what: str, folder: Path, within: Bounds) -> Path:
    """The ``.pt`` as ONNX, in its place. Raises ``ModelProblem``."""
    target = weights.with_suffix(".onnx")
    order = convert.Order(weights=str(weights), target=str(target), name=what, bounds=within)
    answer = _answer(CONVERTER, msgspec.json.encode(order), folder, within, f"{what}: expected it to be converted")
    outcome = msgspec.json.decode(answer, type=convert.Outcome)
    if outcome.problem:
        raise ModelBroken(outcome.problem)
    weights.unlink()
    return target


def _answer(module: str, order: bytes, folder: Path, within: Bounds, expected: str) -> bytes:
    """Of a bounded child with a home of its own in ``folder``. Raises ``ModelBroken`` when it gives none."""
    home = folder / "home"
    home.mkdir()
    ended = run_bounded(module, order, home, within)
    shutil.rmtree(home, ignore_errors=True)
    if ended.code or ended.too_long:
        raise ModelBroken(f"{expected}, got {ending(ended, within)}; choose another model, or export it again")
    return ended.answer


def try_out(order: Order, folder: Path) -> Verdict:
    """The verdict of a bounded child, whose home is ``folder``. Raises ``ModelProblem`` for a model that fails."""
    expected = f"{order.name}: expected it to analyse some pictures"
    answer = _answer(TRIAL, msgspec.json.encode(order), folder, order.bounds, expected)
    verdict = msgspec.json.decode(answer, type=Verdict)
    if verdict.problem:
        raise ModelBroken(verdict.problem)
    return verdict


def _size(file: Path) -> int:
    try:
        return sum(path.stat().st_size for path in file.iterdir()) if file.is_dir() else file.stat().st_size
    except OSError:
        return 0  # what is wrong is said where it is read


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=incoming(), prefix="taking-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _final_card(card: Card, parcel: Parcel, name: str, licence: str, origin: str, digest: str) -> Card:
    return msgspec.structs.replace(
        card,
        name=(name or card.name)[:100],
        version=(card.version or digest[:8])[:100],
        file=parcel.weights.name,
        sha256=digest,
        licence=(licence or card.licence)[:100],
        origin=origin or card.origin,
    )


def _register(folder: Path, card: Card, verdict: Verdict, digest: str, backend: str, device: str) -> Model:
    if twin := Model.objects.filter(sha256=digest, name=card.name).first():
        raise Refused(f"{card.name}: expected a new model, got the file that {twin} is made of; nothing is to be done")
    if Model.objects.filter(name=card.name, version=card.version).exists():
        card = msgspec.structs.replace(card, version=f"{card.version[:90]}-{digest[:8]}")
    uid = new_uid()
    kept = _keep(folder, card, uid)
    try:
        with transaction.atomic():
            return Model.objects.create(uid=uid, **_columns(card, verdict, kept, backend, device))
    except IntegrityError:
        shutil.rmtree(store() / str(uid), ignore_errors=True)
        raise Refused(f"{card.model_version}: expected a new model, got one that is there; give another name") from None
    except BaseException:
        shutil.rmtree(store() / str(uid), ignore_errors=True)
        raise


def _keep(folder: Path, card: Card, uid: UUID) -> Path:
    """Weights and card on disk for good, then in place at once. Returns the path of the weights below the store."""
    weights = folder / card.file
    weights.with_suffix(".toml").write_text(card_text(card))
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.chmod(0o644)
    target = store() / str(uid)
    made = folder.with_name(f"{folder.name}.done")
    folder.rename(made)
    folder.mkdir()  # whoever made it takes it away
    made.chmod(0o755)
    made.rename(target)
    return Path(str(uid)) / card.file


def _columns(card: Card, verdict: Verdict, kept: Path, backend: str, device: str) -> dict[str, object]:
    return {
        "name": card.name,
        "version": card.version,
        "backend": _kept_backend(backend, card),
        "device": device,
        "path": str(kept),
        "sha256": card.sha256,
        "licence": card.licence,
        "classes": [msgspec.to_builtins(one) for one in verdict.classes],
        "labels": sorted({one.label for one in verdict.classes} - {""}),
        "latency_ms": verdict.latency_ms,
        "cpu_ms": verdict.cpu_ms,
        "measured_on": verdict.measured_on[:200],
    }


def _kept_backend(wanted: str, card: Card) -> str:
    """The choice stays open only where what would be chosen is what was tried."""
    if wanted == AUTO and registry.resolve(AUTO, Path(card.file)) != card.backend:
        return card.backend
    return wanted


def take_in_shipped(card_name: str, *, within: Bounds | None = None) -> Model:
    """Register a model of the zoo, or the one that is there, measured here. Raises ``ModelProblem``."""
    card = registry.load_card(card_name)
    found = Model.objects.filter(name=card.name, version=card.version).first()
    if found is not None and found.latency_ms is not None:
        raise Refused(f"{found}: expected a new model, got one that is there; nothing is to be done")
    weights = registry.model_path(card)
    with _workplace() as folder:
        order = Order(
            weights=str(weights),
            card=str(registry.ZOO / f"{card_name}.toml"),
            name=card.name,
            backend=found.backend if found else card.backend,
            device=found.device if found else "auto",
            bounds=within or bounds(),
        )
        verdict = try_out(order, folder)
    measured = {"latency_ms": verdict.latency_ms, "cpu_ms": verdict.cpu_ms, "measured_on": verdict.measured_on[:200]}
    if found is None:
        return Model.objects.create(**registry.model_fields(card_name), **measured)
    Model.objects.filter(pk=found.pk).update(**measured)
    found.refresh_from_db()
    return found


def remove(model: Model) -> None:
    """Take a model out, with its files. Raises ``Refused`` for one that a deployment names."""
    if names := list(model.deployments.values_list("name", flat=True)):
        raise Refused(
            f"{model}: expected no deployment to run it, got {', '.join(names)}; give each another model first"
        )
    folder = (store() / model.path).parent if model.path else None
    model.delete()
    if folder is not None and folder.parent == store() and folder.name != INCOMING:
        transaction.on_commit(lambda: shutil.rmtree(folder, ignore_errors=True))

"""What somebody hands in as a model, laid out in a folder of ours under names of ours. Not a byte of it is run.

Kinds are told by their ending first and by their content in the trial. Sizes are checked before anything is read.
"""

from __future__ import annotations

import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from detectors.backends.base import ModelMissing, ModelProblem
from detectors.runtimes import missing

MOST_BYTES = 1 << 30
MOST_FILES = 64
"""In a zip or a folder; an exported model has two to four."""
BLOCK = 1 << 20
STEM = "model"
NETWORKS = (".onnx", ".xml", ".pt")
NOTES = "metadata.yaml"
"""What Ultralytics and OpenVINO put beside a model: the names of its classes, its picture size."""
PICKLES = frozenset({".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".h5", ".keras", ".npy", ".npz", ".bin"})
"""Formats that run code of their author when they are read, or weights without their network."""


class Refused(ModelProblem):
    """A file that is not taken in; the text says why and what to do."""

    code = "model_refused"


@dataclass(frozen=True, slots=True)
class Parcel:
    """A model laid out: ``weights`` is what a runtime opens."""

    weights: Path
    card: Path | None
    """A card that came with it."""


def megabytes(count: int) -> str:
    """
    >>> megabytes(2_600_000), megabytes(1 << 30)
    ('2.6 MB', '1,073.7 MB')
    """
    return f"{count / 1e6:,.1f} MB"


def unpack(source: Path, folder: Path, *, name: str, most_bytes: int = MOST_BYTES) -> Parcel:
    """Copy the model ``source`` (a file, folder or zip) into the empty ``folder``. Raises ``Refused``.

    ``name`` is what the messages call it: an upload's own name, say.
    """
    try:
        if source.is_dir():
            _from_folder(source, folder, name, most_bytes)
        elif Path(name).suffix.lower() == ".zip":
            _from_zip(source, folder, name, most_bytes)
        else:
            _from_file(source, folder, name, most_bytes)
    except FileNotFoundError:
        raise ModelMissing(f"{name}: expected a file or a folder, got nothing there; mend the path") from None
    except OSError as error:
        raise Refused(f"{name}: expected to copy it, got {error.strerror}; mend that and add it again") from None
    return _parcel(folder, name)


def _from_file(source: Path, folder: Path, name: str, most_bytes: int) -> None:
    suffix = Path(name).suffix.lower()
    _check_kind(suffix, name)
    _copy(source, folder / (STEM + suffix), name, most_bytes)
    beside = [source.with_suffix(".toml")]
    if suffix == ".xml":
        beside += [source.with_suffix(".bin"), source.parent / NOTES]
    for path in beside:
        if path.is_file() and (kept := kept_as(path.name)):
            _copy(path, folder / kept, name, most_bytes - source.stat().st_size)


def kept_as(file_name: str) -> str:
    """What a file of a model is called here; empty for one that is of no interest.

    >>> kept_as("Best.ONNX"), kept_as("metadata.yaml"), kept_as("readme.md")
    ('model.onnx', 'metadata.yaml', '')
    """
    suffix = Path(file_name).suffix.lower()
    if file_name == NOTES:
        return NOTES
    return f"{STEM}{suffix}" if suffix in (*NETWORKS, ".bin", ".toml") else ""


def _check_kind(suffix: str, name: str) -> None:
    if suffix in (".onnx", ".xml"):
        return
    if suffix == ".pt":
        if why := missing("ultralytics"):
            raise Refused(f"{name}: a .pt model runs in Ultralytics only: {why}, or export the model to ONNX")
        return
    if suffix in PICKLES:
        raise Refused(
            f"{name}: expected .onnx, an OpenVINO .xml with its .bin, or .zip, got {suffix}: such a file can run code "
            "of its author when it is read, or lacks its network; export the model to ONNX"
        )
    raise Refused(
        f"{name}: expected .onnx, an OpenVINO .xml with its .bin, a .zip of one of them, or .pt, got "
        f"{suffix or 'no ending'}; export the model to ONNX"
    )


def _copy(source: Path, target: Path, name: str, most_bytes: int) -> None:
    size = source.stat().st_size
    if size > most_bytes:
        raise _too_large(name, size, most_bytes)
    with source.open("rb") as file:
        _pour(file, target, name, most_bytes)


def _pour(file: IO[bytes], target: Path, name: str, most_bytes: int) -> int:
    """Copy, trusting no declared size. Returns how many bytes."""
    copied = 0
    with target.open("xb") as output:
        while block := file.read(BLOCK):
            copied += len(block)
            if copied > most_bytes:
                raise _too_large(name, copied, most_bytes)
            output.write(block)
    return copied


def _too_large(name: str, size: int, most_bytes: int) -> Refused:
    return Refused(
        f"{name}: expected at most {megabytes(most_bytes)}, got {megabytes(size)}; choose a smaller model, or raise "
        "POLISCOPE_MODEL_MAX_MB"
    )


def _from_folder(source: Path, folder: Path, name: str, most_bytes: int) -> None:
    files = sorted(path for path in source.iterdir() if kept_as(path.name))
    _check_parts([path.name for path in files], name)
    for path in files:
        if path.is_symlink() or not path.is_file():
            raise Refused(f"{name}: expected plain files, got {path.name}, which is none; put the file itself there")
        target = folder / kept_as(path.name)
        _copy(path, target, name, most_bytes)
        most_bytes -= target.stat().st_size


def _from_zip(source: Path, folder: Path, name: str, most_bytes: int) -> None:
    if (size := source.stat().st_size) > most_bytes:
        raise _too_large(name, size, most_bytes)
    try:
        with zipfile.ZipFile(source) as archive:
            _unzip(archive, folder, name, most_bytes)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise Refused(f"{name}: expected a whole zip file without a password, got {error}; pack it again") from None


def _unzip(archive: zipfile.ZipFile, folder: Path, name: str, most_bytes: int) -> None:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) > MOST_FILES:
        raise Refused(
            f"{name}: expected at most {MOST_FILES} files in the zip, got {len(members)}; pack the model alone"
        )
    if (size := sum(member.file_size for member in members)) > most_bytes:
        raise _too_large(f"{name}, unpacked", size, most_bytes)
    for member in members:
        _check_member(member, name)
    # Where the zip wants its files to go is of no interest.
    wanted = [(member, Path(member.filename).name) for member in members if kept_as(Path(member.filename).name)]
    _check_parts([part for _, part in wanted], name)
    for member, part in wanted:
        with archive.open(member) as file:
            most_bytes -= _pour(file, folder / kept_as(part), f"{name}, unpacked", most_bytes)


def _check_member(member: zipfile.ZipInfo, name: str) -> None:
    path = Path(member.filename.replace("\\", "/"))
    mode = member.external_attr >> 16
    if path.is_absolute() or ".." in path.parts:
        raise Refused(f"{name}: expected files below the zip, got {member.filename!r}; pack the model alone")
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise Refused(f"{name}: expected plain files in the zip, got {member.filename!r}, which is none; pack it again")


def _check_parts(names: list[str], name: str) -> None:
    """Exactly one network, with at most one file of each other kind."""
    kept = [kept_as(part) for part in names]
    networks = [Path(part).suffix for part in kept if Path(part).suffix in NETWORKS]
    if len(networks) != 1 or len(set(kept)) != len(kept):
        raise Refused(
            f"{name}: expected one .onnx, or one .xml with its .bin, got {', '.join(sorted(names)) or 'none of them'}; "
            "pack one model alone"
        )
    _check_kind(networks[0], name)


def _parcel(folder: Path, name: str) -> Parcel:
    weights = next(path for suffix in NETWORKS if (path := folder / f"{STEM}{suffix}").exists())
    if weights.suffix == ".xml" and not weights.with_suffix(".bin").exists():
        raise Refused(
            f"{name}: expected the .bin beside the .xml, got the .xml alone; add both as one .zip, or their folder"
        )
    if not weights.stat().st_size:
        raise Refused(f"{name}: expected a model, got an empty file; export or copy it again")
    card = folder / f"{STEM}.toml"
    return Parcel(weights, card if card.exists() else None)


def check_room(folder: Path, wanted_bytes: int, name: str) -> None:
    """That ``folder``'s disk has room for ``wanted_bytes``, and something left after that. Raises ``Refused``."""
    free = shutil.disk_usage(folder).free
    if free < wanted_bytes + (256 << 20):
        raise Refused(
            f"{name}: expected {megabytes(wanted_bytes + (256 << 20))} of free disk, got {megabytes(free)}; make room"
        )

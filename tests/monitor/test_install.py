"""What ``./poliscope install ultralytics`` takes from where. pip itself is not run, but for one local wheel."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from monitor import install
from monitor.install import Failed, Plan, fits, offline_help, read_plan, torch_source, unfinished

REQUIREMENTS = Path(install.__file__).parents[1] / "requirements" / "ultralytics.txt"
CPU, CUDA = read_plan(REQUIREMENTS.read_text()), read_plan(REQUIREMENTS.read_text() + "# build: cuda\n")


def test_the_file_becomes_a_plan() -> None:
    assert (CPU.torch, CPU.build, CUDA.build) == ("2.13.0", "cpu", "cuda")
    [hashed] = CPU.hashed
    assert re.fullmatch(r"ultralytics==8\.4\.190 --hash=sha256:[0-9a-f]{64}", hashed)
    names = [line.partition("==")[0] for line in CPU.others]
    assert "pillow" in names and all("==" in line for line in CPU.others)
    # Never both builds of OpenCV, and no torchvision that would bring another torch.
    assert not [name for name in names if name.startswith(("opencv", "torch"))]


def test_banned_versions_are_not_asked_for() -> None:
    banned = {f"ultralytics==8.3.{patch}" for patch in (41, 42, 45, 46)}
    assert not banned & set(REQUIREMENTS.read_text().split())


def test_a_file_without_torch_is_refused() -> None:
    with pytest.raises(Failed, match="expected a line torch==VERSION, got none"):
        read_plan("numpy==1\n")


@pytest.mark.parametrize(
    "installed, plan, system, expected",
    [
        (None, CPU, "Linux", False),
        ("2.13.0+cpu", CPU, "Linux", True),
        ("2.13.0", CPU, "Linux", False),
        ("2.13.0", CUDA, "Linux", True),
        ("2.13.0+cu130", CUDA, "Linux", True),
        ("2.13.0+cpu", CUDA, "Linux", False),
        ("2.12.0+cpu", CPU, "Linux", False),
        ("2.13.0", CPU, "Darwin", True),
    ],
)
def test_a_torch_of_another_build_does_not_fit(installed: str | None, plan: Plan, system: str, expected: bool) -> None:
    assert fits(installed, plan, system) is expected


@pytest.mark.parametrize(
    "plan, local, platform, arguments, says",
    [
        (
            CPU,
            ("2.13.0+cpu", "file:///w%20s/t.whl"),
            ("Linux", "x86_64"),
            "--no-index --no-deps torch===2.13.0+cpu",
            "/w s",
        ),
        (CPU, ("2.13.0", "file:///w/t.whl"), ("Linux", "x86_64"), "whl/cpu torch===2.13.0+cpu", "about 190 MB"),
        (CPU, None, ("Linux", "x86_64"), "whl/cpu torch===2.13.0+cpu", "no NVIDIA driver here.*about 190 MB"),
        (CPU, None, ("Linux", "aarch64"), "whl/cpu torch===2.13.0+cpu", "of unknown size"),
        (CPU, None, ("Darwin", "arm64"), "torch==2.13.0", "of unknown size"),
        (CUDA, None, ("Linux", "x86_64"), "torch===2.13.0", "NVIDIA driver is here.*about 2.8 GB"),
        (CUDA, ("2.13.0+cpu", "file:///w/t.whl"), ("Linux", "x86_64"), "torch===2.13.0", "about 2.8 GB"),
    ],
)
def test_torch_comes_from_where_it_is_nearest(
    plan: Plan, local: tuple[str, str] | None, platform: tuple[str, str], arguments: str, says: str
) -> None:
    source = torch_source(plan, local, *platform)
    assert " ".join(source.arguments).endswith(arguments)
    assert re.search(says, source.says)


def test_it_says_how_to_bring_torch_without_a_connection() -> None:
    text = offline_help(CPU)
    assert "pip download --no-deps" in text and "torch===2.13.0+cpu" in text
    assert "./poliscope install --find-links wheels ultralytics" in text


def test_what_was_broken_off_is_found(tmp_path: Path) -> None:
    for name, files in {"whole": ("METADATA", "INSTALLER"), "half": ("METADATA",)}.items():
        (tmp_path / f"{name}-1.dist-info").mkdir()
        for file in files:
            (tmp_path / f"{name}-1.dist-info" / file).touch()
    assert [folder.name for folder in unfinished(tmp_path)] == ["half-1.dist-info"]


def test_pip_finds_a_wheel_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "torch-9.9.0+cpu-py3-none-any.whl", "w") as wheel:
        about = "torch-9.9.0+cpu.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: torch\nVersion: 9.9.0+cpu\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    version, address = install.find_local("9.9.0") or ("", "")
    assert version == "9.9.0+cpu" and address.startswith(tmp_path.as_uri())
    assert install.find_local("9.9.1") is None

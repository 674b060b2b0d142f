"""The Python that runs us, its virtual environment, and the packages that ``requirements/base.txt`` pins."""

from __future__ import annotations

import ctypes
import importlib.metadata
import json
import platform
import re
import sys
from collections.abc import Mapping

from monitor.findings.children import NoAnswer, ask_python
from monitor.findings.finding import Finding, Scope, State, _
from monitor.instance import BASE_DIR

OLDEST = (3, 11)
BASE = BASE_DIR / "requirements" / "base.txt"
MODULES = {
    "Django": "django",
    "django-unfold": "unfold",
    "django-ninja": "ninja",
    "kafka-python": "kafka",
    "opencv-python": "cv2",
    "opencv-python-headless": "cv2",
}
"""What is imported of a package, where it is not the package's own name."""
DEEPER = {"kombu.transport.redis": "celery", "channels_redis.pubsub": "channels_redis"}
"""What a package imports only when it is used: module → package."""
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
GL = "libGL.so.1"

# django-ninja reads settings while it is imported, whatever they are.
IMPORTING = """
import importlib, json
try:
    from django.conf import settings
    settings.configure()
except ImportError:
    pass
for name in {modules}:
    try:
        importlib.import_module(name)
    except BaseException as problem:
        print(json.dumps([name, type(problem).__name__ + ": " + str(problem)]), flush=True)
"""


def check_python(scope: Scope) -> list[Finding]:
    """New enough, and in an environment of its own."""
    venv = scope.environment.get("POLISCOPE_VENV") or ".venv"
    return [python_version(sys.version_info[:2]), virtual_environment(scope.pip_failed, venv)]


def python_version(version: tuple[int, int]) -> Finding:
    """Whether ``version`` is one that we run on."""
    values = {"version": platform.python_version(), "oldest": f"{OLDEST[0]}.{OLDEST[1]}", "path": sys.executable}
    if version >= OLDEST:
        return Finding("python", _("Python"), State.OK, _("%(version)s at %(path)s"), values=values)
    return Finding(
        "python",
        _("Python"),
        State.WRONG,
        _("Expected Python %(oldest)s or newer, got %(version)s at %(path)s."),
        remedy="apt-get install python3 python3-venv",
        values=values,
    )


def virtual_environment(pip_failed: bool, venv: str = ".venv") -> Finding:
    """Whether the packages have a place of their own, and pip could fill it."""
    if pip_failed:
        return Finding(
            "venv",
            _("Virtual environment"),
            State.WRONG,
            _("pip could not install the base packages; without them nothing starts."),
            remedy=f"{venv}/bin/python -m pip install -r requirements/base.txt",
            advice=_("The command shows what pip needs: a way to a package index, free disk, or another Python."),
        )
    if sys.prefix == sys.base_prefix:
        return Finding(
            "venv",
            _("Virtual environment"),
            State.NOTE,
            _("Packages of the system are used, which other programs change too."),
            remedy="./poliscope doctor",
            advice=_("Run through ./poliscope, which makes one."),
        )
    return Finding("venv", _("Virtual environment"), State.OK, _("%(folder)s"), values={"folder": sys.prefix})


def check_packages(scope: Scope) -> list[Finding]:
    """Every pinned package is there, at its version, and can be imported; and not two OpenCVs."""
    names = installed_opencv()
    wanted = pins(BASE.read_text(), names)
    stray = strays(wanted, installed_versions(wanted))
    found = [package_finding(*one) for one in stray]
    importable = [name for name in wanted if name not in {one[0] for one in stray if not one[2]}]
    found += [broken_import(name, problem, wanted[name]) for name, problem in failed_imports(importable).items()]
    return [*(found or [packages_ok(len(wanted))]), opencv_builds(names, wanted), graphics_library(names)]


def packages_ok(count: int) -> Finding:
    return Finding(
        "packages",
        _("Packages"),
        State.OK,
        _("%(count)s packages, each at its pinned version and importable"),
        values={"count": count},
    )


def pins(text: str, opencv: list[str]) -> dict[str, str]:
    """The pinned versions of a requirements file by package; OpenCV under the name of the build that is installed.

    >>> pins("# base\\nav==18.1.0\\nopencv-python==5.0.0.93\\n", ["opencv-python-headless"])
    {'av': '18.1.0', 'opencv-python-headless': '5.0.0.93'}
    """
    found = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)$", text, flags=re.MULTILINE))
    version = found.get("opencv-python")
    if version and opencv and "opencv-python" not in opencv:
        found = {opencv[0] if name == "opencv-python" else name: pin for name, pin in found.items()}
    return found


def pinned(name: str) -> str:
    """What pip is to be asked for: ``name==version`` of the base packages."""
    return f"{name}=={pins(BASE.read_text(), []).get(name, '')}".removesuffix("==")


def installed_versions(names: Mapping[str, str]) -> dict[str, str]:
    """The installed version of each that is installed."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def strays(wanted: Mapping[str, str], installed: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(package, pinned, installed or empty) of everything that differs."""
    return [(name, pin, installed.get(name, "")) for name, pin in wanted.items() if installed.get(name) != pin]


def package_finding(name: str, pin: str, installed: str) -> Finding:
    """What a missing or another version means. Another one may work, and is not what was tested."""
    values = {"package": name, "pinned": pin, "installed": installed}
    text = (
        _("%(package)s: expected %(pinned)s, got %(installed)s, which nobody has tested with this version.")
        if installed
        else _("%(package)s: expected %(pinned)s, got nothing.")
    )
    return Finding("package", _("Packages"), State.WRONG, text, remedy=pip_install(name, pin), values=values)


def pip_install(name: str, pin: str, *options: str) -> str:
    """The command that puts ``name`` in at its pinned version."""
    return " ".join([sys.executable, "-m pip install", *options, f"{name}=={pin}"])


def remedy_of(module: str) -> str:
    """The command that puts in the base package which ``module`` is of; empty where it is of none of them."""
    wanted = pins(BASE.read_text(), installed_opencv())
    top = module.partition(".")[0]
    found = next((name for name in wanted if _module_of(name) == top), None)
    if found is None:
        return ""
    # pip takes a package that lost some of its files for whole.
    again = ("--force-reinstall", "--no-deps") if installed_versions({found: ""}) else ()
    return pip_install(found, wanted[found], *again)


def _module_of(name: str) -> str:
    return MODULES.get(name, name.replace("-", "_").lower())


def failed_imports(names: list[str]) -> dict[str, str]:
    """What happened to each package of ``names`` that cannot be imported; one that crashes everything included."""
    modules = {_module_of(name): name for name in names}
    modules |= {module: name for module, name in DEEPER.items() if name in names}
    try:
        problems = _import_all(list(modules))
    except NoAnswer:
        problems = _import_each(list(modules))
    return {modules[module]: problem for module, problem in problems.items()}


def _import_all(modules: list[str]) -> dict[str, str]:
    lines = ask_python(IMPORTING.format(modules=json.dumps(modules))).splitlines()
    # A package that prints while it is imported says nothing about itself.
    told = [json.loads(line) for line in lines if line.startswith("[")]
    return {module: problem.splitlines()[0][:200] for module, problem in told}


def _import_each(modules: list[str]) -> dict[str, str]:
    """One process a module, to learn which of them ends its process."""
    failed: dict[str, str] = {}
    for module in modules:
        try:
            failed |= _import_all([module])
        except NoAnswer as problem:
            failed[module] = str(problem)
    return failed


def broken_import(name: str, problem: str, pin: str) -> Finding:
    """A package that is there and does not work."""
    missing_gl = GL in problem
    return Finding(
        "import",
        _("Packages"),
        State.WRONG,
        _("%(package)s is installed and cannot be imported: %(problem)s"),
        remedy="apt-get install libgl1" if missing_gl else pip_install(name, pin, "--force-reinstall --no-deps"),
        values={"package": name, "problem": problem},
    )


def installed_opencv() -> list[str]:
    """Which builds of OpenCV pip has put in."""
    return [name for name in OPENCV if installed_versions({name: ""})]


def opencv_builds(names: list[str], wanted: Mapping[str, str]) -> Finding:
    """One build and no more: they overwrite each other's files, and which one is imported is chance."""
    if len(names) < 2:
        return Finding(
            "opencv", _("OpenCV"), State.OK, _("one build: %(build)s"), values={"build": ", ".join(names) or "–"}
        )
    keep = "opencv-python" if has_library(GL) else "opencv-python-headless"
    pin = next((version for name, version in wanted.items() if name in OPENCV), "")
    uninstall = f"{sys.executable} -m pip uninstall -y {' '.join(names)}"
    return Finding(
        "opencv",
        _("OpenCV"),
        State.WRONG,
        _("Expected one build of OpenCV, got %(builds)s: they overwrite each other's files."),
        remedy=f"{uninstall} && {pip_install(keep, pin)}",
        values={"builds": ", ".join(names)},
    )


def graphics_library(names: list[str], library: str = GL) -> Finding:
    """The build of OpenCV for desktops needs the system's OpenGL; the headless one does not."""
    values = {"library": library}
    if has_library(library):
        return Finding("libgl", _("OpenGL library"), State.OK, _("%(library)s is there"), values=values)
    if any(not name.endswith("headless") for name in names):
        return Finding(
            "libgl",
            _("OpenGL library"),
            State.WRONG,
            _("%(library)s is missing, so this build of OpenCV cannot be imported."),
            remedy="apt-get install libgl1",
            values=values,
        )
    return Finding(
        "libgl",
        _("OpenGL library"),
        State.OK,
        _("%(library)s is not there and not needed: OpenCV is the headless build"),
        values=values,
    )


def has_library(name: str) -> bool:
    """Whether the loader finds ``name``."""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True

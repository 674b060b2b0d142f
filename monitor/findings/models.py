"""The models that come with us: each card's weights are there and are the very ones."""

from __future__ import annotations

from pathlib import Path

from monitor.findings.finding import Finding, Scope, State, _
from monitor.instance import BASE_DIR


def check_models(scope: Scope) -> list[Finding]:
    """Every card of ``detectors/zoo``."""
    from detectors.registry import ZOO

    return zoo(ZOO)


def zoo(folder: Path) -> list[Finding]:
    """Every card in ``folder``: readable, its weights there, their SHA-256 right."""
    from detectors import registry

    names = registry.cards(folder)
    wrong = [finding for name in names for finding in _card(name, folder)]
    if not names:
        return [_damaged("", folder, f"{folder} holds no model card")]
    return wrong or [
        Finding("model", _("Models"), State.OK, _("%(names)s: files whole"), values={"names": ", ".join(names)})
    ]


def _card(name: str, folder: Path) -> list[Finding]:
    from detectors import registry
    from detectors.backends.base import ModelProblem, check_file

    try:
        card = registry.load_card(name, folder)
        check_file(registry.model_path(card, folder), card)
    except ModelProblem as problem:
        return [_damaged(name, folder, str(problem))]
    return []


def _damaged(name: str, folder: Path, problem: str) -> Finding:
    where = folder.relative_to(BASE_DIR) if folder.is_relative_to(BASE_DIR) else folder
    return Finding(
        "model",
        _("Models"),
        State.WRONG,
        _("%(problem)s"),
        remedy=f"git checkout -- {where}",
        values={"problem": problem, "name": name},
    )

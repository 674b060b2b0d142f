"""Whatever a stage or a kind of rule can lack has a sentence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from alerts.rules.registry import RULES
from alerts.why import STAGES, UNTOLD
from frontend import why_words

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "alerts/rules").glob("*.py")) + [
    ROOT / "alerts" / name for name in ("why.py", "asking.py", "sequences.py")
]
SAID_OTHERWISE = {"", "sees", "dropped", "tracked_as", "trouble"}
"""Those whose sentence is that of a reason, or depends on what was got."""


def bounds_in(path: Path) -> Iterator[str]:
    """The bounds that a file writes: ``bound=\"…\"``, ``short(\"…\", …)`` and what a kind calls its time."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            values = [keyword.value for keyword in node.keywords if keyword.arg == "bound"]
            values += node.args[:1] if isinstance(node.func, ast.Name) and node.func.id == "short" else []
        elif isinstance(node, ast.Assign) and any(getattr(one, "id", "") == "lasting" for one in node.targets):
            values = [node.value]
        else:
            continue
        yield from (
            part.value for value in values for part in ast.walk(value)
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        )  # fmt: skip


BOUNDS = sorted({bound for path in SOURCES for bound in bounds_in(path)} - SAID_OTHERWISE)


def test_the_bounds_are_found() -> None:
    assert {"confidence", "in_zone", "lying", "masked", "repeat", "after_first", "measured"} <= set(BOUNDS)
    assert len(BOUNDS) > len(RULES)


@pytest.mark.parametrize("bound", BOUNDS)
def test_every_bound_has_a_sentence(bound: str) -> None:
    assert bound in why_words._SENTENCES


def test_every_stage_has_a_name_and_what_is_not_known_has_words() -> None:
    assert why_words.STAGES == STAGES
    assert set(STAGES) <= set(why_words._STAGES)
    assert set(why_words._SENTENCES) >= UNTOLD

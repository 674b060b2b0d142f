"""A card that is written is the card that is read."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from detectors import registry
from detectors.card_file import card_text


@pytest.mark.parametrize("name", registry.cards())
def test_every_card_of_the_zoo_comes_back(name: str, tmp_path: Path) -> None:
    card = registry.load_card(name)
    (tmp_path / "model.toml").write_text(card_text(card))
    assert registry.load_card("model", tmp_path) == card


@pytest.mark.parametrize(
    "text", ['a "quote"', "back\\slash", "tab\tnew\nline", "\x7f\x00", "貨櫃 🏗", "]\n[head]\nkind = 'x'"]
)
def test_no_text_breaks_out_of_its_string(text: str, tmp_path: Path) -> None:
    card = msgspec.structs.replace(registry.load_card("nanodet_g"), origin=text, name=text, labels=("person", "car"))
    (tmp_path / "model.toml").write_text(card_text(card))
    assert registry.load_card("model", tmp_path) == card

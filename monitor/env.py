"""Typed settings from the environment, failing loudly with the remedy. ``NAME_FILE`` reads a secret from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


class SettingError(Exception):
    """A setting is missing or malformed; the text names it, what was expected, what was got, and the remedy."""


class Environment:
    """Reads settings from ``values`` (the process environment unless given)."""

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = os.environ if values is None else values

    def text(self, name: str, default: str | None = None) -> str:
        """The setting ``name``, or the content of the file that ``name_FILE`` points to. Raises ``SettingError``."""
        if path := self._values.get(f"{name}_FILE"):
            try:
                return Path(path).read_text().strip()
            except OSError as error:
                raise SettingError(
                    f"{name}_FILE: expected a readable file, got {path!r} ({error.strerror}); "
                    f"mend the path or set {name} itself"
                ) from None
        value = self._values.get(name, default)
        if value is None:
            raise SettingError(f"{name}: expected a value, got nothing; set {name} or {name}_FILE")
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """1/true/yes/on or 0/false/no/off."""
        value = self.text(name, "1" if default else "0").strip().lower()
        if value in {"1", "true", "yes", "on"}:
            return True
        if value in {"0", "false", "no", "off", ""}:
            return False
        raise SettingError(f"{name}: expected 1 or 0, got {value!r}; write {name}=1 or {name}=0")

    def integer(self, name: str, default: int, *, low: int | None = None, high: int | None = None) -> int:
        """A whole number within [low, high]."""
        value = self.text(name, str(default))
        try:
            number = int(value)
        except ValueError:
            raise SettingError(
                f"{name}: expected a whole number, got {value!r}; write for example {name}={default}"
            ) from None
        if (low is not None and number < low) or (high is not None and number > high):
            raise SettingError(f"{name}: expected {low} to {high}, got {number}; write for example {name}={default}")
        return number

    def words(self, name: str, default: str = "") -> list[str]:
        """A comma-separated list, blanks stripped, empty entries left out."""
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

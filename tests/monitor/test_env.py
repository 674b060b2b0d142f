"""Settings from the environment: each error names the setting, what was expected, what was got, and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.env import Environment, SettingError

Read = Callable[[Environment], Any]

GOOD: list[tuple[str, Read, Any]] = [
    ("a", lambda env: env.text("NAME"), "a"),
    ("1", lambda env: env.flag("NAME"), True),
    ("Yes", lambda env: env.flag("NAME"), True),
    ("off", lambda env: env.flag("NAME"), False),
    ("", lambda env: env.flag("NAME", default=True), False),
    ("17", lambda env: env.integer("NAME", 3, low=1, high=20), 17),
    (" a , b,,", lambda env: env.words("NAME"), ["a", "b"]),
]


@pytest.mark.parametrize(("value", "read", "expected"), GOOD)
def test_it_reads(value: str, read: Read, expected: Any) -> None:
    assert read(Environment({"NAME": value})) == expected


BAD: list[tuple[dict[str, str], Read, list[str]]] = [
    ({}, lambda env: env.text("NAME"), ["NAME", "expected a value", "got nothing", "set NAME or NAME_FILE"]),
    ({"NAME": "maybe"}, lambda env: env.flag("NAME"), ["NAME", "expected 1 or 0", "'maybe'", "write NAME=1"]),
    ({"NAME": "many"}, lambda env: env.integer("NAME", 3), ["NAME", "expected a whole number", "'many'", "NAME=3"]),
    ({"NAME": "1.5"}, lambda env: env.integer("NAME", 3), ["NAME", "expected a whole number", "'1.5'", "NAME=3"]),
    ({"NAME": "0"}, lambda env: env.integer("NAME", 3, low=1, high=9), ["NAME", "expected 1 to 9", "got 0", "NAME=3"]),
    (
        {"NAME_FILE": "/no/such/file"},
        lambda env: env.text("NAME"),
        ["NAME_FILE", "expected a readable file", "'/no/such/file'", "mend the path or set NAME"],
    ),
]


@pytest.mark.parametrize(("values", "read", "words"), BAD)
def test_it_refuses_with_the_remedy(values: dict[str, str], read: Read, words: list[str]) -> None:
    with pytest.raises(SettingError) as error:
        read(Environment(values))
    for word in words:
        assert word in str(error.value)


def test_a_secret_comes_from_a_file_and_the_file_wins(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from the file\n")
    env = Environment({"NAME": "from the environment", "NAME_FILE": str(tmp_path / "secret")})
    assert env.text("NAME") == "from the file"

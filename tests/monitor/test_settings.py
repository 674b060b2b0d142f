"""The real settings in a process of their own: they load, or say what to mend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.settings import own_origins

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "settings-tests-settings-tests-settings-tests-Settings-7"


def manage(tmp_path: Path, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    """``manage.py`` in an environment that holds nothing but ``values`` and a folder."""
    return python(tmp_path, "manage.py", *arguments, **values)


def python(tmp_path: Path, *arguments: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Python in such an environment."""
    base = {"PATH": os.environ["PATH"], "POLISCOPE_SECRET_KEY": SECRET, "POLISCOPE_DATA": str(tmp_path)}
    environment = {name: value for name, value in (base | values).items() if value}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


BAD = [
    ({"POLISCOPE_SECRET_KEY": ""}, ["POLISCOPE_SECRET_KEY", "expected a value", "POLISCOPE_SECRET_KEY_FILE"]),
    ({"POLISCOPE_SECRET_KEY": "short"}, ["POLISCOPE_SECRET_KEY", "at least 50 characters, got 5", "secrets.token"]),
    ({"POLISCOPE_URL": "watch.example.org"}, ["POLISCOPE_URL", "https://", "'watch.example.org'", "for example"]),
    ({"POLISCOPE_DEBUG": "perhaps"}, ["POLISCOPE_DEBUG", "expected 1 or 0", "'perhaps'", "write"]),
    ({"TWILIO_CALLBACKS": "1"}, ["TWILIO_AUTH_TOKEN", "with TWILIO_CALLBACKS", "leave TWILIO_CALLBACKS out"]),
    ({"DATABASE_URL": "oracle9://x:geheim@y/z"}, ["DATABASE_URL", "postgres://", "mend"]),
]


@pytest.mark.parametrize(("values", "words"), BAD, ids=[next(iter(values)) for values, _ in BAD])
def test_a_malformed_setting_stops_it_with_the_remedy(tmp_path: Path, values: dict[str, str], words: list[str]) -> None:
    done = manage(tmp_path, "check", **values)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last
    assert "geheim" not in last


@pytest.mark.parametrize("part", ["monitor.asgi", "monitor.celery"])
def test_no_part_starts_where_callbacks_could_not_be_believed(tmp_path: Path, part: str) -> None:
    """Uvicorn and Celery run no checks of ours."""
    program = f"import {part} as part; getattr(part, 'app', None) and part.app.conf.broker_url"
    done = python(tmp_path, "-c", program, DJANGO_SETTINGS_MODULE="monitor.settings", TWILIO_CALLBACKS="1")
    assert done.returncode != 0
    assert "TWILIO_AUTH_TOKEN: expected a value with TWILIO_CALLBACKS" in done.stderr


def test_it_is_clean_for_production(tmp_path: Path) -> None:
    done = manage(
        tmp_path,
        "check",
        "--deploy",
        "--fail-level",
        "WARNING",
        POLISCOPE_URL="https://watch.example.org",
        POLISCOPE_HOSTS="watch.example.org",
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize(
    ("address", "origins"),
    [
        ("http://127.0.0.1:8000", ["http://127.0.0.1:8000", "http://localhost:8000"]),
        ("http://localhost:9000", ["http://127.0.0.1:9000", "http://localhost:9000"]),
        ("https://localhost", ["https://127.0.0.1", "https://localhost"]),
        ("https://watch.example.org", ["https://watch.example.org"]),
        ("http://localhost.example.org:8000", ["http://localhost.example.org:8000"]),
    ],
)
def test_loopback_has_two_names_and_everything_else_one(address: str, origins: list[str]) -> None:
    assert own_origins(address) == origins


def test_it_is_clean_on_one_machine(tmp_path: Path) -> None:
    done = manage(tmp_path, "check", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


def test_a_wrong_setting_fails_the_check_with_its_id_and_hint(tmp_path: Path) -> None:
    done = manage(tmp_path, "check", TWILIO_ACCOUNT_SID="AC1")
    assert done.returncode != 0
    assert "poliscope.E004" in done.stderr
    assert "HINT: Set TWILIO_AUTH_TOKEN, TWILIO_FROM" in done.stderr

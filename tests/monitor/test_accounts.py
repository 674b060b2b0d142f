"""The first accounts: made once, shown once, kept as hashes."""

from __future__ import annotations

import stat
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.core.management import CommandError, call_command
from django.utils import timezone

from frontend import tokens
from frontend.models import ApiToken, User
from frontend.permissions import visible_cameras
from monitor.accounts import create_accounts, new_password
from monitor.instance import UNSEEN
from tests.town import build_town

pytestmark = pytest.mark.django_db


def test_both_can_log_in_with_what_was_shown(tmp_path: Path) -> None:
    made = create_accounts(tmp_path)
    for role, expected in (("admin", User.Role.ADMINISTRATOR), ("operator", User.Role.OPERATOR)):
        user = authenticate(username=made[role]["user"], password=made[role]["password"])
        assert isinstance(user, User)
        assert user.role == expected


def test_a_second_start_changes_and_shows_nothing(tmp_path: Path) -> None:
    first = create_accounts(tmp_path)
    (tmp_path / UNSEEN).unlink()
    second = create_accounts(tmp_path)
    assert second["admin"] == {"user": "admin", "password": None}
    assert second["operator"] == {"user": "operator", "password": None}
    assert second["token"] == first["token"]
    assert authenticate(username="admin", password=first["admin"]["password"]) is not None


def test_log_ins_that_nobody_was_shown_get_passwords_anew(tmp_path: Path) -> None:
    first, second = create_accounts(tmp_path), create_accounts(tmp_path)
    for role in ("admin", "operator"):
        assert authenticate(username=role, password=first[role]["password"]) is None
        assert authenticate(username=role, password=second[role]["password"]) is not None


def test_whoever_has_logged_in_keeps_the_password(tmp_path: Path) -> None:
    first = create_accounts(tmp_path)
    User.objects.filter(username="admin").update(last_login=timezone.now())
    second = create_accounts(tmp_path)
    assert second["admin"]["password"] is None and second["operator"]["password"]
    assert authenticate(username="admin", password=first["admin"]["password"]) is not None


def test_passwords_are_kept_as_hashes_only(tmp_path: Path) -> None:
    made = create_accounts(tmp_path)
    assert made["admin"]["password"] not in str(list(User.objects.values()))
    assert made["token"] not in str(list(ApiToken.objects.values()))


def test_the_operator_sees_the_cameras_that_are_there(tmp_path: Path) -> None:
    build_town()
    User.objects.filter(role=User.Role.OPERATOR).delete()
    create_accounts(tmp_path)
    assert visible_cameras(User.objects.get(username="operator")).count() == 2


def test_the_token_is_the_administrators_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    made = create_accounts(tmp_path)
    owner = tokens.authenticate(made["token"])
    assert owner is not None
    assert owner.username == "admin"
    assert stat.S_IMODE((tmp_path / "token.secret").stat().st_mode) == 0o600


def test_a_token_that_was_taken_away_is_replaced(tmp_path: Path) -> None:
    first = create_accounts(tmp_path)["token"]
    ApiToken.objects.all().delete()
    second = create_accounts(tmp_path)["token"]
    assert second != first
    assert tokens.authenticate(second) is not None
    assert ApiToken.objects.count() == 1


def test_an_administrator_who_was_renamed_is_not_made_again(tmp_path: Path) -> None:
    create_accounts(tmp_path)
    User.objects.filter(username="admin").update(username="ada")
    made = create_accounts(tmp_path)
    assert made["admin"] == {"user": "ada", "password": None}
    assert User.objects.filter(is_superuser=True).count() == 1


def test_the_token_passes_to_another_administrator_when_its_owner_is_made_inactive(tmp_path: Path) -> None:
    first = create_accounts(tmp_path)
    User.objects.create_user("ada", role=User.Role.ADMINISTRATOR)
    User.objects.filter(username="admin").update(is_active=False)
    made = create_accounts(tmp_path)
    assert made["admin"] == {"user": "ada", "password": None}
    assert made["token"] != first["token"]
    owner = tokens.authenticate(made["token"])
    assert owner is not None
    assert owner.username == "ada"


def test_it_makes_nobody_an_administrator_whose_account_was_made_inactive(tmp_path: Path) -> None:
    create_accounts(tmp_path)
    (tmp_path / UNSEEN).unlink()
    User.objects.filter(username="admin").update(is_active=False)
    assert create_accounts(tmp_path)["admin"] == {"user": "admin", "password": None}
    assert not User.objects.get(username="admin").is_active


def test_no_two_passwords_are_alike() -> None:
    made = {new_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(password) == 19 for password in made)


def test_the_command_gives_a_new_password_and_ends_the_old_one(tmp_path: Path) -> None:
    old = create_accounts(tmp_path)["operator"]["password"]
    said = StringIO()
    call_command("password", "operator", stdout=said)
    assert authenticate(username="operator", password=said.getvalue().strip()) is not None
    assert authenticate(username="operator", password=old) is None


def test_a_password_from_the_command_stays_after_a_start_that_was_broken_off(tmp_path: Path, settings: Any) -> None:
    settings.DATA_DIR = tmp_path
    create_accounts(tmp_path)
    said = StringIO()
    call_command("password", "operator", stdout=said)
    second = create_accounts(tmp_path)
    assert second["operator"]["password"] is None and second["admin"]["password"]
    assert authenticate(username="operator", password=said.getvalue().strip()) is not None


def test_the_command_names_the_users_there_are(tmp_path: Path) -> None:
    create_accounts(tmp_path)
    with pytest.raises(CommandError, match="expected one of admin, operator, got 'nobody'"):
        call_command("password", "nobody")

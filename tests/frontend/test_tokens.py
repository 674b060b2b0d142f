"""Bearer tokens: shown once, kept as a hash, good until they expire or their owner goes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from frontend import tokens
from frontend.models import ApiToken
from tests.town import NOW, Town, build_town

pytestmark = pytest.mark.django_db


@pytest.fixture
def town() -> Town:
    return build_town()


def test_it_knows_whose_token_it_is(town: Town) -> None:
    _token, plain = tokens.create(town.alice, "script")
    assert tokens.authenticate(plain, now=NOW) == town.alice


def test_it_keeps_nothing_of_the_token_but_its_hash(town: Town) -> None:
    token, plain = tokens.create(town.alice, "script")
    row = ApiToken.objects.filter(pk=token.pk).values().get()
    assert all(
        plain not in str(value) and plain.removeprefix(tokens.PREFIX) not in str(value) for value in row.values()
    )
    assert len(token.digest) == 64


def test_two_tokens_differ(town: Town) -> None:
    assert tokens.create(town.alice, "one")[1] != tokens.create(town.alice, "two")[1]


@pytest.mark.parametrize("wrong", ["", "poliscope_", "poliscope_x", "é\x00", "a" * 10_000])
def test_it_knows_no_other(town: Town, wrong: str) -> None:
    tokens.create(town.alice, "script")
    assert tokens.authenticate(wrong, now=NOW) is None


@pytest.mark.parametrize(("after_s", "good"), [(-1, True), (0, False), (1, False)])
def test_it_ends_at_its_time(town: Town, after_s: int, good: bool) -> None:
    _token, plain = tokens.create(town.alice, "script", expires_at=NOW)
    assert (tokens.authenticate(plain, now=NOW + timedelta(seconds=after_s)) is not None) == good


def test_it_ends_with_its_owners_account(town: Town) -> None:
    _token, plain = tokens.create(town.alice, "script")
    town.alice.is_active = False
    town.alice.save()
    assert tokens.authenticate(plain, now=NOW) is None


def test_it_ends_when_it_is_deleted(town: Town) -> None:
    token, plain = tokens.create(town.alice, "script")
    token.delete()
    assert tokens.authenticate(plain, now=NOW) is None


@pytest.mark.parametrize(("after_s", "noted_s"), [(0, 0), (59, 0), (60, 60), (3600, 3600)])
def test_it_notes_its_use_at_most_once_a_minute(town: Town, after_s: int, noted_s: int) -> None:
    token, plain = tokens.create(town.alice, "script")
    tokens.authenticate(plain, now=NOW)
    tokens.authenticate(plain, now=NOW + timedelta(seconds=after_s))
    token.refresh_from_db()
    assert token.last_used_at == NOW + timedelta(seconds=noted_s)

"""How a database is emptied after a test that really commits: only what has rows, and no table is made anew.

Django's ``flush`` truncates every table and then makes all permissions and content types once more. That takes a large
part of a second, a hundred times over; no test changes those.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from unittest import mock

import pytest
from django.db import connection, transaction
from django.test import TransactionTestCase

KEPT = frozenset({"django_migrations", "django_content_type", "auth_permission"})


@functools.cache
def _tables(database: str) -> list[str]:
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    return sorted(set(names) - KEPT)


def empty() -> None:
    """No row is left but those of ``KEPT``."""
    quote = connection.ops.quote_name
    tables = _tables(str(connection.settings_dict["NAME"]))
    # Every foreign key is checked at the end of the transaction, so that the order does not matter.
    with transaction.atomic(), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"DELETE FROM {quote(table)}")


@pytest.fixture(scope="session", autouse=True)
def _emptied_quickly() -> Iterator[None]:
    with mock.patch.object(TransactionTestCase, "_fixture_teardown", lambda case: empty()):
        yield

"""The whole way is started once for each kind of database and shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.way import Way, open_way
from tests.services.postgres import binaries


@pytest.fixture(scope="package", params=["sqlite", "postgres"])
def _open_way(request: pytest.FixtureRequest) -> Iterator[Way]:
    if request.param == "postgres" and binaries() is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    with open_way(postgres=request.param == "postgres") as way:
        yield way


@pytest.fixture
def way(_open_way: Way) -> Iterator[Way]:
    """The whole way, well."""
    _open_way.heal()
    yield _open_way
    print(_open_way.said())

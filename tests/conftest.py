"""Fixtures that every test may use. Real services are started once a session, on loopback, on free ports."""

import gc
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import pytest

pytest_plugins = [
    name
    for name in (
        "tests.services.emptying",
        "tests.services.tables",
        "tests.services.valkey",
        "tests.services.kafka",
        "tests.services.postgres",
        "tests.services.rtsp",
        "tests.services.shared",
    )
    if importlib.util.find_spec(name)
]


def pytest_collection_finish() -> None:
    """What was imported stays: looking through it again and again for garbage is a fifth of a Django test's time.

    A page and its queries make thousands of objects that all go with it; looking among them rarely saves a tenth more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


_LEAKS = ("POLISCOPE_KAFKA", "POLISCOPE_FRAMES_URL", "REDIS_URL", "TWILIO_BASE_URL", "POLISCOPE_CAMERA_ALLOW")


@pytest.fixture(autouse=True)
def _no_environment_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _LEAKS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _marker_properties(request: pytest.FixtureRequest, record_property: object) -> None:
    # The floor in tests/expected.json is kept per marker; the report carries them.
    for name in sorted({mark.name for mark in request.node.iter_markers()} - {"parametrize", "usefixtures"}):
        record_property("marker", name)  # type: ignore[operator]


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_modify_db_settings: None) -> bool:
    """Whether the test database is there already. On PostgreSQL it never is."""
    from django.conf import settings

    from tests.services.tables import copied

    database = settings.DATABASES["default"]
    return "sqlite3" in database["ENGINE"] and copied(database["TEST"]["NAME"])


@pytest.fixture(scope="session")
def django_db_modify_db_settings(request: pytest.FixtureRequest) -> Iterator[None]:
    """With POLISCOPE_TEST_POSTGRES=1 every Django test runs on the PostgreSQL that the tests start."""
    if os.environ.get("POLISCOPE_TEST_POSTGRES") == "1":
        import dj_database_url
        from django.conf import settings
        from django.db import connections

        url = request.getfixturevalue("postgres")
        parsed = {**connections.databases["default"], **dj_database_url.parse(url), "OPTIONS": {}}
        settings.DATABASES["default"] = connections.databases["default"] = parsed
        connections["default"].close()
        del connections["default"]
        connections["default"]
    yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A served thread may still hold a session when the last test ends; PostgreSQL drops no database then."""
    yield
    from django.db import connection

    if connection.vendor == "postgresql":
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(f"{others} AND pid <> pg_backend_pid()")

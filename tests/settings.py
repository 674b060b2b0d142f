"""Settings for tests: the real ones, with a throw-away folder and SQLite unless DATABASE_URL says otherwise."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("POLISCOPE_SECRET_KEY", "tests-only-tests-only-tests-only-tests-only-tests-only-1")
if "POLISCOPE_DATA" not in os.environ:
    os.environ["POLISCOPE_DATA"] = tempfile.mkdtemp(prefix="poliscope-tests-")
    atexit.register(shutil.rmtree, os.environ["POLISCOPE_DATA"], ignore_errors=True)

from monitor.settings import *  # noqa: F403
from monitor.settings import DATABASES, STATIC_ROOT, STORAGES

STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns of a missing one

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file: SQLite's in-memory databases cannot be shared by the threads that some tests start.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(os.environ["POLISCOPE_DATA"], "test.sqlite3")}
    # What a test wrote need not survive the machine, and waiting for the disk is most of a commit.
    DATABASES["default"]["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"

"""Django settings. What differs between installations comes from the environment: ``docs/configuration.md``."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from monitor.env import Environment, SettingError
from monitor.unfold import UNFOLD as UNFOLD

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()


def _load() -> dict[str, Any]:
    """Every setting that the environment decides. Raises ``SettingError``."""
    debug = env.flag("POLISCOPE_DEBUG")
    data = Path(env.text("POLISCOPE_DATA", str(BASE_DIR / "data")))
    secret = env.text(
        "POLISCOPE_SECRET_KEY", "unsafe-development-key-unsafe-development-key-unsafe-5f2c" if debug else None
    )
    if len(secret) < 50:
        raise SettingError(
            f"POLISCOPE_SECRET_KEY: expected at least 50 characters, got {len(secret)}; make one with "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
        )
    address = env.text("POLISCOPE_URL", "http://127.0.0.1:8000").rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise SettingError(
            f"POLISCOPE_URL: expected http:// or https:// and a host, got {address!r}; "
            "write the address that people open, for example https://watch.example.org"
        )
    database = env.text("DATABASE_URL", f"sqlite:///{data / 'poliscope.sqlite3'}")
    try:
        parsed = dj_database_url.parse(database, conn_max_age=60)
    except (ValueError, KeyError) as error:
        raise SettingError(
            f"DATABASE_URL: expected sqlite:///PATH or postgres://USER:PASSWORD@HOST:PORT/NAME, got something else "
            f"({type(error).__name__}); mend it"
        ) from None
    return {
        "debug": debug,
        "data": data,
        "secret": secret,
        "address": address,
        "database": dict(parsed),
        "hosts": env.words("POLISCOPE_HOSTS", "127.0.0.1,localhost"),
        "redis": env.text("REDIS_URL", "redis://127.0.0.1:6379/0"),
        "model_bytes": env.integer("POLISCOPE_MODEL_MAX_MB", 1000, low=1, high=100_000) * 1_000_000,
        "archive": {
            "folder": Path(env.text("POLISCOPE_ARCHIVE", str(data / "archive"))),
            "days": env.integer("POLISCOPE_ARCHIVE_DAYS", 28, low=0, high=3650),
            "bytes": env.integer("POLISCOPE_ARCHIVE_GB", 50, low=1, high=100_000) * 1_000_000_000,
            "leave_bytes": env.integer("POLISCOPE_ARCHIVE_LEAVE_MB", 1000, low=0, high=10_000_000) * 1_000_000,
        },
        "twilio": _twilio(),
        "sms_per_minute": env.integer("POLISCOPE_SMS_PER_MINUTE", 60, low=1, high=60_000),
        "sms_per_month": env.integer("POLISCOPE_SMS_PER_MONTH", 5000, low=0, high=10_000_000),
        "trial_s": env.integer("POLISCOPE_MODEL_TRIAL_S", 120, low=2, high=3600),
    }


def _twilio() -> dict[str, Any]:
    """Twilio's account. Raises ``SettingError`` where it is to call back and nothing of that could be believed."""
    given = {
        "account": env.text("TWILIO_ACCOUNT_SID", ""),
        "token": env.text("TWILIO_AUTH_TOKEN", ""),
        "sender": env.text("TWILIO_FROM", ""),
        "base_url": env.text("TWILIO_BASE_URL", ""),
        # Status and answers are asked for anyway; called back, they only come sooner.
        "callbacks": env.flag("TWILIO_CALLBACKS"),
    }
    if given["callbacks"] and not given["token"]:
        raise SettingError(
            "TWILIO_AUTH_TOKEN: expected a value with TWILIO_CALLBACKS, got none: nothing that is called back could be "
            "believed; set it, or leave TWILIO_CALLBACKS out: then Twilio is asked"
        )
    return given


def own_origins(address: str) -> list[str]:
    """What a browser calls the pages of ``address``: on loopback they are opened by name and by number.

    >>> own_origins("http://127.0.0.1:8000")
    ['http://127.0.0.1:8000', 'http://localhost:8000']
    >>> own_origins("https://watch.example.org")
    ['https://watch.example.org']
    """
    parts = urlsplit(address)
    if parts.hostname not in ("127.0.0.1", "localhost"):
        return [address]
    port = f":{parts.port}" if parts.port else ""
    return [f"{parts.scheme}://{host}{port}" for host in ("127.0.0.1", "localhost")]


try:
    _given = _load()
except SettingError as error:
    raise ImproperlyConfigured(str(error)) from None

DEBUG: bool = _given["debug"]
SECRET_KEY: str = _given["secret"]
DATA_DIR: Path = _given["data"]
PUBLIC_URL: str = _given["address"]
# People open that one, so it is answered whatever POLISCOPE_HOSTS says.
ALLOWED_HOSTS: list[str] = list(dict.fromkeys([*_given["hosts"], urlsplit(PUBLIC_URL).hostname or ""]))
REDIS_URL: str = _given["redis"]
_secure = PUBLIC_URL.startswith("https://")

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "streams",
    "detectors",
    "alerts",
    "frontend",
    "monitor",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "frontend.middleware.LanguageOfPerson",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "frontend.middleware.ContentSecurityPolicy",
]

ROOT_URLCONF = "monitor.urls"
ASGI_APPLICATION = "monitor.asgi.application"
WSGI_APPLICATION = None
AUTH_USER_MODEL = "frontend.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": _given["database"]}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE: with 8 writers DEFERRED fails 7-54 % of transactions, IMMEDIATE none.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        # Seconds, as for PostgreSQL below: a heartbeat stops when its process waits for longer.
        "timeout": 5,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }
else:
    # PostgreSQL's own defaults are "wait for ever".
    DATABASES["default"].setdefault("OPTIONS", {})["options"] = (
        "-c lock_timeout=5000 -c statement_timeout=15000 -c idle_in_transaction_session_timeout=30000"
    )
    DATABASES["default"]["OPTIONS"].setdefault("connect_timeout", 5)
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "room"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hant", _("Traditional Chinese (Taiwan)"))]
LOCALE_PATHS = [BASE_DIR / "frontend" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
MEDIA_URL = "/media/"
MEDIA_ROOT = DATA_DIR / "media"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}

# Security: strict wherever the public address is https; plain http is for one machine on loopback.
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = _secure and env.flag("POLISCOPE_SSL_REDIRECT", default=True)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("POLISCOPE_BEHIND_PROXY") else None
SECURE_HSTS_SECONDS = 31_536_000 if _secure else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = _secure
SECURE_HSTS_PRELOAD = _secure
SESSION_COOKIE_SECURE = _secure
CSRF_COOKIE_SECURE = _secure
# Cookies are shared by every port of a host: two installations on one machine must not log each other out.
SESSION_COOKIE_NAME = env.text("POLISCOPE_COOKIE", "poliscope")
CSRF_COOKIE_NAME = f"{SESSION_COOKIE_NAME}_csrf"
CSRF_TRUSTED_ORIGINS = own_origins(PUBLIC_URL)
"""Of forms and of sockets."""
X_FRAME_OPTIONS = "DENY"
REQUEST_MAX_BYTES = 1_000_000
"""Of a request's body, whoever sends it: it is stored before anybody has looked at who that is."""
DATA_UPLOAD_MAX_MEMORY_SIZE = REQUEST_MAX_BYTES

MODEL_MAX_BYTES: int = _given["model_bytes"]
"""Of one model, however it comes."""
ARCHIVE: dict[str, Any] = _given["archive"]
"""Where ``evaluate`` keeps what it consumed, for how long, how much, what it leaves free; 0 days: nothing is kept."""
MODEL_TRIAL_S: int = _given["trial_s"]
"""Of wall clock, and of CPU, for the trial of one model."""
_uploads = DATA_DIR / "uploads"
# Beside the models, so that an upload is moved and not copied; and on a disk, which /tmp often is not.
FILE_UPLOAD_TEMP_DIR = str(_uploads) if _uploads.is_dir() else None
FILE_UPLOAD_HANDLERS = [
    "monitor.uploads.CappedUpload",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]

# E-mail: Django's default timeout is none; a silent server held it for more than 20 s.
POLISCOPE_SMTP_URL = env.text("POLISCOPE_SMTP_URL", "")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("POLISCOPE_MAIL_FROM", "poliscope@localhost")

TWILIO: dict[str, Any] = _given["twilio"]
SMS_PER_MINUTE: int = _given["sms_per_minute"]
"""Segments that the sending number passes on; more would wait at the provider, where nothing critical can overtake."""
SMS_PER_MONTH: int = _given["sms_per_month"]
"""Segments; above it only critical ones leave. 0: no ceiling."""
WEBHOOK_ALLOW: list[str] = env.words("POLISCOPE_WEBHOOK_ALLOW")
"""``host:port`` of webhooks that may be in a private network."""
HEARTBEAT_URL = env.text("POLISCOPE_HEARTBEAT_URL", "")
"""Called each minute while everything works, so that somebody outside notices when it does not."""

# Celery carries ids only; losing all of its Redis loses nothing. See docs/topics/delivery.md for each figure.
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 20
CELERY_TASK_TIME_LIMIT = 30
CELERY_TASK_DEFAULT_QUEUE = "ordinary"
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 5
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 60,
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    "socket_timeout": 3,
    "socket_connect_timeout": 3,
    "socket_keepalive": True,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"redact": {"()": "streams.telemetry.Redact"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["redact"]}},
    "root": {"handlers": ["stderr"], "level": env.text("POLISCOPE_LOG_LEVEL", "INFO")},
    "loggers": {
        # The log's engines say once that a server is away; the client library would say it five times a second.
        "kafka": {"level": "CRITICAL"},
        # It says every request in twelve lines, with the number that it is about.
        "twilio": {"level": "WARNING"},
    },
}

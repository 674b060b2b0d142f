"""The ASGI application: HTTP by Django, sockets by Channels, only from our own origin."""

from __future__ import annotations

import os
import warnings
from typing import Any

from django.core.asgi import get_asgi_application

# WhiteNoise hands out files synchronously by design; they are small and sent compressed.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "monitor.settings")
django_application = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import OriginValidator  # noqa: E402
from django.conf import settings  # noqa: E402

from frontend import health_tail  # noqa: E402
from frontend.routing import websocket_urlpatterns  # noqa: E402
from monitor.bodies import LimitedBodies  # noqa: E402
from monitor.uploads import upload_limit  # noqa: E402


async def lifespan(scope: Any, receive: Any, send: Any) -> None:
    """The server's own start and end. Source: the ASGI specification, Lifespan Protocol 2.0."""
    while (await receive())["type"] == "lifespan.startup":
        health_tail.start()
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})


application = ProtocolTypeRouter(
    {
        "lifespan": lifespan,
        "http": LimitedBodies(django_application, settings.REQUEST_MAX_BYTES, upload_limit),
        # Full origins: AllowedHostsOriginValidator ignores scheme and port.
        "websocket": OriginValidator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns)), settings.CSRF_TRUSTED_ORIGINS
        ),
    }
)

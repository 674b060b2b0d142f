"""What providers call: no person, no cookie, and nothing believed without a signature."""

from __future__ import annotations

import logging

from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from alerts import callbacks

logger = logging.getLogger(__name__)

EMPTY_TWIML = '<?xml version="1.0" encoding="UTF-8"?><Response/>'
"""Nothing is said in the answer itself: a reply goes out as a message of its own, where it is counted."""


@csrf_exempt  # whoever calls has no cookie; the signature says who it is
@require_POST
def twilio(request: HttpRequest) -> HttpResponse:
    """A status or an answer. 403 without a valid signature; else 200, whether it said anything new or not."""
    form = {name: request.POST.get(name, "") for name in request.POST}
    if not callbacks.is_signed(request.path, form, request.headers.get("X-Twilio-Signature", "")):
        logger.warning("%s: called without a valid signature, from %s", request.path, request.META.get("REMOTE_ADDR"))
        return HttpResponseForbidden()
    callbacks.TAKERS[request.path](form, timezone.now())
    return HttpResponse(EMPTY_TWIML, content_type="text/xml")

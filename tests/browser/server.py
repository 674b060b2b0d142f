"""The real ASGI application on a loopback port, in a process of its own, over the rows that a seed makes.

``python -m tests.browser.server FOLDER PORT`` makes what the folder lacks of tables and static files, loads the
application, and says ``ready``. Each line on its standard input is answered by the id of a fork that seeds and serves
until it is killed: loading takes seconds, and every test has a server of its own, as fresh as one that was started for
it. Parts that a screen needs and that do not run here are played: heartbeats of every part, and live pictures of every
camera but one (the last) while somebody watches.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

PLAYED_PARTS = ("capture", "detect.general", "evaluate", "sweep", "worker")
PICTURES_HZ = 5.0


def prepare(folder: Path, port: int) -> None:
    """The environment, before Django is imported."""
    os.environ["POLISCOPE_DATA"] = str(folder)
    os.environ["POLISCOPE_URL"] = f"http://127.0.0.1:{port}"
    os.environ["POLISCOPE_SECRET_KEY"] = "tests-only-" * 6
    os.environ["DATABASE_URL"] = f"sqlite:///{folder / 'browser.sqlite3'}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "monitor.settings"
    os.environ["POLISCOPE_LOG_LEVEL"] = "WARNING"


def seed(pictures: list[bytes]) -> None:
    """Four cameras, one of them offline; four incidents in different states; Ada, who sets it all up."""
    from alerts.incidents import acknowledge, resolve
    from streams.cameras import keep_reference, main_view
    from tests.frontend import seeding

    now = datetime.now(UTC)
    harbour = seeding.make_harbour(now)
    ages = ((0, 6.0), (1, 400.0), (2, 1300.0), (3, 250.0), (1, 3600.0))
    for number, (which, age_s) in enumerate(ages):
        at = now - timedelta(seconds=age_s)
        incident = seeding.make_incident(harbour, which, at, picture=pictures[number % len(pictures)])
        if number == 2:
            acknowledge(incident.uid, by=harbour.alice, through="screen", now=at + timedelta(seconds=40))
        if number == 4:
            resolve(
                incident.uid, by=harbour.bob, disposition="false", note="A cat.", through="screen",
                now=at + timedelta(seconds=90),
            )  # fmt: skip
    seeding.make_blind(harbour.cameras[3], now - timedelta(minutes=14))
    seeding.make_person("ada", "administrator", ("Ada", "Lin"), [])
    for camera in harbour.cameras:
        keep_reference(main_view(camera), pictures[0])


def play_heartbeats() -> None:
    """One beat a second for each part, on the real log."""
    from streams.health import Heartbeat, encode_heartbeat
    from streams.log import LogAddresses, open_log
    from streams.topics import HEALTH, standing_topics

    log = open_log(LogAddresses.from_environment(), name="browser-tests")
    log.create(standing_topics(["general"]))
    producer = log.producer()
    while True:
        for part in PLAYED_PARTS:
            beat = Heartbeat(part=part, instance="test-1", at=datetime.now(UTC))
            producer.append(HEALTH.name, 0, encode_heartbeat(beat))
        time.sleep(1)


def play_pictures(pictures: list[bytes]) -> None:
    """Five pictures a second of each watched camera, and half of them with one box."""
    import cv2
    import numpy as np
    import redis

    from streams import live
    from streams.log import LogAddresses
    from streams.models import Camera

    client = redis.Redis.from_url(LogAddresses.from_environment().frames_url)
    uids = list(Camera.objects.order_by("pk").values_list("uid", flat=True))[:-1]
    decoded = [cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR) for picture in pictures]
    sequence = 0
    while True:
        sequence += 5
        for number, uid in enumerate(uids):
            if not client.exists(live.watch_key(uid)):
                continue
            picture = decoded[number % len(decoded)].copy()
            x = sequence * 3 % 400
            cv2.rectangle(picture, (x, 300), (x + 30, 380), (40, 40, 60), -1)
            height_px, width_px = picture.shape[:2]
            jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
            at = datetime.now(UTC)
            shared = {"camera": uid, "session": 2**60 + 1, "sequence": sequence, "captured_at": at}
            client.publish(
                live.picture_channel(uid),
                live.encode_live(live.LivePicture(**shared, width_px=width_px, height_px=height_px, jpeg=jpeg)),
            )
            if number != 1:
                box = (x / width_px, 300 / height_px, (x + 30) / width_px, 380 / height_px)
                seen = live.LiveBox(box, "person", 0.8, 7, hot=number == 0)
                client.publish(live.boxes_channel(uid), live.encode_live(live.LiveBoxes(**shared, boxes=[seen])))
        time.sleep(1 / PICTURES_HZ)


def given_pictures() -> list[bytes]:
    """JPEGs from ``POLISCOPE_TEST_PICTURES`` (a folder), else drawn ones."""
    from tests.frontend.seeding import drawn_picture

    folder = os.environ.get("POLISCOPE_TEST_PICTURES", "")
    return [path.read_bytes() for path in sorted(Path(folder).glob("*.jpg"))] if folder else [drawn_picture()]


def make() -> None:
    """Tables and static files."""
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", run_syncdb=True, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    # What was written is in the file only when the last connection is closed.
    connection.close()


def fork(work: Callable[[], None]) -> int:
    """Do ``work`` in a process that is a copy of this one; its id."""
    child = os.fork()
    if child:
        return child
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def serve(port: int) -> None:
    """Seed, and serve until killed."""
    import uvicorn

    from frontend import health_tail
    from monitor.asgi import application

    health_tail._started_at = datetime.now(UTC)
    pictures = given_pictures()
    seed(pictures)
    threading.Thread(target=play_heartbeats, daemon=True).start()
    threading.Thread(target=play_pictures, args=(pictures,), daemon=True).start()
    uvicorn.run(application, host="127.0.0.1", port=port, log_level="warning", lifespan="off")


def load() -> None:
    """All that a server imports, once."""
    import_module("monitor.asgi")
    for module in ("uvicorn", "uvicorn.loops.auto", "uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto"):
        import_module(module)
    for module in ("cv2", "redis", "tests.frontend.seeding", "alerts.incidents", "streams.cameras", "streams.live"):
        import_module(module)
    from django.urls import get_resolver

    assert get_resolver().url_patterns, "the views, and all that they import"


def main(folder: Path, port: int) -> None:
    """Serve as often as asked."""
    prepare(folder, port)
    import django

    django.setup()
    from django.conf import settings

    # Passwords are checked in earnest where a whole installation runs; here five people would cost seconds a test.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    os.waitpid(fork(make), 0)
    load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(fork(lambda: serve(port)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""A client of the log in a process of its own, to be killed: ``python -m tests.contracts.log_client ACTION …``.

``append TOPIC COUNT`` prints each acknowledged number; ``consume TOPIC GROUP MEMBER SESSION_S`` joins, commits what it
reads and prints its assignment whenever that changes.
"""

from __future__ import annotations

import sys
import threading
import time

from streams.log import LogAddresses, open_log


def say(*words: object) -> None:
    print(*words, flush=True)


def append(topic: str, count: str) -> None:
    producer = open_log(LogAddresses.from_environment()).producer()
    lock = threading.Lock()

    def tell(number: int, offset: int | None) -> None:
        with lock:
            if offset is not None:
                say("acknowledged", number)

    for number in range(int(count)):
        producer.append(topic, 0, b"%d" % number, lambda offset, _, number=number: tell(number, offset))
        time.sleep(0.002)
    producer.flush(30)


def consume(topic: str, group: str, member: str, session_s: str) -> None:
    consumer = open_log(LogAddresses.from_environment()).consumer(
        topic, group, member, session_timeout_s=float(session_s)
    )
    known: frozenset[int] | None = None
    while True:
        for record in consumer.poll(0.2):
            consumer.commit({record.partition: record.offset + 1})
        if consumer.assignment != known:
            known = consumer.assignment
            say("assigned", *sorted(known))


if __name__ == "__main__":
    {"append": append, "consume": consume}[sys.argv[1]](*sys.argv[2:])

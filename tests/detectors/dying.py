"""A child that does what its order says: dies as a crashed runtime does, tells its environment, or waits."""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from detectors.bounded import Bounds, bind

if __name__ == "__main__":
    order = sys.stdin.read()
    answer = bind(Bounds(cpu_s=5))
    if order == "environment":
        os.write(answer, json.dumps(dict(os.environ)).encode())
    elif order == "wait":
        time.sleep(60)
    else:
        os.kill(os.getpid(), signal.SIGSEGV)

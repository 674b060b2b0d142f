"""``./poliscope bench [NAME …]``: runs the named benchmarks, or lists what there is."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

BENCHES = {
    "latency": "from the picture that fired to the provider's first byte, 8 cameras",
    "detect": "what one analysed picture costs, part by part",
    "start": "from a fresh clone to the first incident; memory, and the processor at rest",
    "cost": "CPU milliseconds for each second of each camera, beside Ultralytics' own loop",
    "trust": "every kind of rule on scenes and real clips: what was found, what was missed, what was false",
    "rules": "what one rule costs on one picture of twenty tracks, 50 cameras with 10 rules each",
    "rehearse": "a week of one camera through a changed rule; what the archive weighs",
    "chaos": "10,000 alerts while everything that carries them is killed at random moments",
    "storm": "10,000 events a minute into 50 incidents",
    "log": "both log engines: throughput, delay, ten minutes of overload",
}


def main(arguments: Sequence[str]) -> int:
    """Names may be followed by that benchmark's own options. ``--known NAME`` only says whether there is one."""
    asked = arguments[:1] == ["--known"]
    arguments = arguments[1:] if asked else arguments
    if not arguments or arguments[0] not in BENCHES:
        if arguments:
            print(f"bench: expected one of {', '.join(BENCHES)}, got {arguments[0]!r}", file=sys.stderr)
        for name, what in BENCHES.items():
            print(f"  ./poliscope bench {name:<10} {what}")
        return 2 if arguments else 0
    if asked:
        return 0
    code: int = importlib.import_module(f"bench.{arguments[0]}").main(list(arguments[1:])) or 0
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

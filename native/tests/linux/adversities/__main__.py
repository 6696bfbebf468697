"""What the network does to a stack, as scapy can send it: `python3 adversities DEVICE [PART OF A NAME]`.

DEVICE is a TAP device with the stack at its other end (see `../adversities.rs`). Each case prints one line; the exit status is 0 if all are well.
"""

import sys
import traceback

import extension_headers  # noqa: F401
import fragments  # noqa: F401
import icmp  # noqa: F401
import neighbors  # noqa: F401
import packets  # noqa: F401
from link import CASES, Link


def main():
    link = Link(sys.argv[1])
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    failed = 0
    for case in CASES:
        if wanted not in case.__name__:
            continue
        try:
            # What the case before has begun is over.
            link.skip(61)
            link.exchange()
            case(link)
            print(f"ok {case.__name__}", flush=True)
        except Exception as problem:  # noqa: BLE001: whatever it is, the next case begins
            failed += 1
            place = traceback.extract_tb(problem.__traceback__)
            lines = [f"{entry.filename.rsplit('/', 1)[-1]}:{entry.lineno}" for entry in place if entry.name == case.__name__]
            print(f"FAILED {case.__name__} ({', '.join(lines)}): {problem or type(problem).__name__}", flush=True)
    return 1 if failed else 0


sys.exit(main())

"""Fuzz for longer, or run one input again: ``make fuzz SECONDS=600 SEED=7``."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time

from tests.fuzz.engine import BrokenPromiseError, check, fuzz, make
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--seed", type=int, help="another one each time by default")
    parser.add_argument("--target", choices=[one.name for one in TARGETS])
    parser.add_argument("--number", type=int, help="run only this input of the seed")
    parser.add_argument("--input", type=bytes.fromhex, help="run only these bytes, in hex")
    options = parser.parse_args()
    targets = [one for one in TARGETS if options.target in (None, one.name)]
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    try:
        if options.input is not None or options.number is not None:
            for target in targets:
                data = options.input
                check(target, make(target, seed, options.number) if data is None else data, seed)
            return 0
        print(f"seed {seed}", flush=True)
        shares = sum(one.share for one in targets)
        for target in targets:
            until = time.monotonic() + options.seconds * target.share / shares
            count = fuzz(target, seed, itertools.count(), until)
            print(f"{target.name:<12} {count:>9,} inputs", flush=True)
    except BrokenPromiseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


sys.exit(main())

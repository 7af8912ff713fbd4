"""Mutate files and see what becomes of them: an answer or a sentence, and nothing else.

    python -m tests.fuzz                          # a few minutes
    python -m tests.fuzz --minutes 10 --seed 7    # longer, other cases
    python -m tests.fuzz --show decoders 7 1234   # run one case here, with its traceback
    python -m tests.fuzz --write decoders 7 1234 FILE

Prints a table for docs/reliability.md, and the number of each case that failed; ends with status 1
if one did. The files that are mutated are pydicom's, and such as the tests make.
"""

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz import runner
from tests.fuzz.cases import DECODERS, TARGETS, Cases


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", nargs=3, metavar=("TARGET", "SEED", "NUMBER"))
    parser.add_argument("--write", nargs=4, metavar=("TARGET", "SEED", "NUMBER", "FILE"))
    parser.add_argument("--cases", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.cases:
        target, *numbers = args.cases
        return runner.serve(target, *map(int, numbers))
    if args.show:
        target, seed, number = args.show
        return print(Cases(int(seed), target).run(int(number)))
    if args.write:
        target, seed, number, file = args.write
        Path(file).write_bytes(Cases(int(seed), target).data(int(number)))
        return None
    print(runner.HEAD, flush=True)
    failures = []
    for target in TARGETS:
        share = 0.7 if target == DECODERS else 0.3 / (len(TARGETS) - 1)
        until = time.monotonic() + share * 60 * args.minutes
        report = runner.run(args.seed, target, 0, 10**9, until)
        print(report.line(), flush=True)
        failures += [f"{target} {args.seed} {failure}" for failure in report.failures]
    print("\n".join(failures) or "nothing failed", file=sys.stderr)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

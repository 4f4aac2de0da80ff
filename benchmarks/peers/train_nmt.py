"""nmt's own command with all lines of its training log: without a terminal it prints one a minute."""

import sys

from nmtcli.cli import progress

progress.EVERY = 0  # before other modules read it

from nmtcli.cli import run  # noqa: E402

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

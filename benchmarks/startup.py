"""How long `nmt --help` and `nmt VERB --help` take: median of five, beside a bare `python -c 'import torch'`."""

import statistics
import subprocess
import sys
import time


def median(command: list[str], runs: int = 5) -> float:
    """Median wall time of a command in seconds."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    verbs = [[], ["prepare"], ["train"], ["translate"], ["score"], ["export"]]
    for verb in verbs:
        seconds = median([sys.executable, "-m", "nmtcli", *verb, "--help"])
        print(f"nmt {' '.join([*verb, '--help']):20s} {seconds:.2f} s")
    print(f"{'import torch':24s} {median([sys.executable, '-c', 'import torch']):.2f} s")

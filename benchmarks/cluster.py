"""Workers of a Dask scheduler against processes of one machine: the same output, how fast, and what happens in trouble.

    python benchmarks/cluster.py translate MODEL TEXT [--lines 200000]
    python benchmarks/cluster.py overhead MODEL TEXT [--lines 20000] [--rounds 3]
    python benchmarks/cluster.py prepare SOURCE TARGET [--pairs 5000000] [--workers 2]
    python benchmarks/cluster.py faults MODEL TEXT [--lines 20000]

TEXT is repeated to as many lines as asked for, each with its number behind it. `translate`: a scheduler and four
workers with one thread each; two are killed (SIGKILL) and one is added while they work; the bytes must be those of one
process.
`overhead`: two workers against `--processes 2`, by turns. `prepare`: a corpus of so many pairs as in `prepare.py`, its
content and report against one machine; memory of the scheduler and the client. `faults`: one error after the other, as
the user sees it. With `benchmarks/two_hosts.sh python benchmarks/cluster.py …` the workers are on two hosts.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from prepare import family, make_corpus, read
from training import row

from nmtcli.data.digests import hashes
from nmtcli.data.directory import open_data

SEARCH = ["-b", "1", "--set", "search.max_length=8"]


class Cluster:
    """A scheduler on the first host, and workers on both in turn; without hosts, all on this machine."""

    def __init__(self, folder: Path, hosts: list[str]) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.hosts = [one.partition("=")[::2] for one in hosts] or [("", "127.0.0.1")]
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "DASK_TEMPORARY_DIRECTORY": str(folder)}
        # for a worker that is lost; both are usually 30 seconds
        self.environment |= {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
        self.environment |= {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s"}
        self.workers: list[subprocess.Popen] = []
        self.scheduler = self.start_scheduler()

    def on(self, host: int) -> list[str]:
        """The prefix of a command on a host."""
        name = self.hosts[host][0]
        return ["ip", "netns", "exec", name] if name else []

    def start(self, host: int, *words: str, without: Path | None = None, **variables: str) -> subprocess.Popen:
        """Start a process of Dask on a host; it does not see what the folder `without` has."""
        hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', str(without)]
        command = [
            *self.on(host),
            *(hide if without else []),
            sys.executable,
            "-m",
            "dask",
            *words,
            "--no-dashboard",
            "--host",
            self.hosts[host][1],
        ]
        log = (self.folder / f"{words[0]}.log").open("ab")
        environment = self.environment | variables
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def start_scheduler(self) -> subprocess.Popen:
        self.file.unlink(missing_ok=True)
        started = self.start(0, "scheduler", "--port", "8786", "--scheduler-file", str(self.file))
        while not self.file.exists():
            time.sleep(0.05)
        return started

    def add(self, count: int, without: Path | None = None, **variables: str) -> None:
        for _ in range(count):
            options = ["--scheduler-file", str(self.file), "--nthreads", "1", "--memory-limit", "0", "--no-nanny"]
            self.workers.append(
                self.start(len(self.workers) % len(self.hosts), "worker", *options, without=without, **variables)
            )

    @property
    def processes(self) -> list[int]:
        """The scheduler and the workers."""
        return [one.pid for one in (self.scheduler, *self.workers)]

    def joined(self, count: int) -> None:
        """Wait until so many workers have joined since the start."""
        while (self.folder / "scheduler.log").read_text().count("Register worker") < count:
            if all(worker.poll() is not None for worker in self.workers):
                raise SystemExit((self.folder / "worker.log").read_text()[-3000:])
            time.sleep(0.05)

    def kill(self, process: subprocess.Popen) -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                self.kill(process)


def nmt(*words: object, prefix: list[str] | None = None) -> subprocess.Popen:
    command = [*(prefix or []), sys.executable, "-m", "nmtcli", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def timed(*words: object, prefix: list[str] | None = None) -> float:
    begin = time.perf_counter()
    process = nmt(*words, prefix=prefix)
    _, said = process.communicate()
    if process.returncode:
        raise SystemExit(said)
    return time.perf_counter() - begin


def make_text(text: Path, lines: int, path: Path) -> Path:
    with text.open("rb") as file:
        given = file.read().splitlines()
    with path.open("wb") as file:
        file.writelines(b"%s %d\n" % one for one in zip(islice(cycle(given), lines), range(lines), strict=True))
    return path


def lines_done(output: Path) -> int:
    record = output.with_name(f"{output.name}.progress")
    return json.loads(record.read_text())["lines"] if record.exists() else 0


def wait_for(output: Path, process: subprocess.Popen, lines: int) -> None:
    while lines_done(output) < lines and process.poll() is None:
        time.sleep(0.05)


def translate(options: argparse.Namespace, folder: Path, cluster: Cluster) -> None:
    text = make_text(options.text, options.lines, folder / "text")
    base = ["translate", "-m", options.model.resolve(), "-i", text, *SEARCH]
    alone = timed(*base, "-o", folder / "alone", "--processes", "1")
    cluster.add(4)
    cluster.joined(4)
    output = folder / "many"
    begin = time.perf_counter()
    process = nmt(*base, "-o", output, "--scheduler", cluster.file, prefix=cluster.on(0))
    wait_for(output, process, options.lines // 5)
    cluster.kill(cluster.workers[0])
    wait_for(output, process, 2 * options.lines // 5)
    cluster.kill(cluster.workers[1])
    cluster.add(1)
    _, said = process.communicate()
    seconds = time.perf_counter() - begin
    same = process.returncode == 0 and output.read_bytes() == (folder / "alone").read_bytes()
    print(f"{options.lines:,} lines: one process {alone:.0f} s; 4 workers, 2 killed, 1 added {seconds:.0f} s")
    print(f"the bytes are {'equal' if same else 'NOT equal'}; it said: {said.strip()}")
    if not same:
        raise SystemExit(1)


class CpuTime(threading.Thread):
    """CPU seconds of processes and their descendants from now on, as far as ten looks a second see them."""

    def __init__(self, *roots: int) -> None:
        super().__init__(daemon=True)
        self._roots, self._running = roots, True
        self._seconds = self._look()
        self._before = dict(self._seconds)
        self.start()

    def _look(self) -> dict[int, float]:
        found = {}
        for number in (one for root in self._roots for one in family(root)):
            with suppress(OSError):
                words = Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2].split()
                found[number] = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        return found

    def run(self) -> None:
        while self._running:
            self._seconds |= self._look()
            time.sleep(0.1)

    def stop(self) -> float:
        self._running = False
        self.join()
        return sum(seconds - self._before.get(number, 0) for number, seconds in self._seconds.items())


def overhead(options: argparse.Namespace, folder: Path, cluster: Cluster) -> None:
    text = make_text(options.text, options.lines, folder / "text")
    base = ["translate", "-m", options.model.resolve(), "-i", text, *SEARCH, "--overwrite"]
    cluster.add(2)
    cluster.joined(2)
    times: dict[str, list[float]] = {"--processes 2": [], "2 workers": []}
    cpu: dict[str, list[float]] = {"--processes 2": [], "2 workers": []}
    kinds = [
        ("--processes 2", ["-o", folder / "alone", "--processes", "2"], None, ()),
        ("2 workers", ["-o", folder / "many", "--scheduler", cluster.file], cluster.on(0), cluster.processes),
    ]
    for _ in range(options.rounds):
        for name, words, prefix, others in kinds:
            begin = time.perf_counter()
            process = nmt(*base, *words, prefix=prefix)
            clock = CpuTime(process.pid, *others)
            try:
                _, said = process.communicate()
                times[name].append(time.perf_counter() - begin)
            finally:
                process.kill()
                cpu[name].append(clock.stop())
            if process.returncode:
                raise SystemExit(said)
    assert (folder / "alone").read_bytes() == (folder / "many").read_bytes()
    print(row(["", "seconds", "CPU seconds"]))
    print("|---|---|---|")
    for name in times:
        print(row([name, *(", ".join(f"{value:.1f}" for value in one[name]) for one in (times, cpu))]))
    print(f"\n{options.lines:,} lines; ratios of each round:")
    for name, found in (("seconds", times), ("CPU seconds", cpu)):
        ratios = [two / one for one, two in zip(*found.values(), strict=True)]
        print(f"{name}: {', '.join(f'{one:.3f}' for one in ratios)}, median {statistics.median(ratios):.3f}")


class Memory(threading.Thread):
    """Samples the resident memory of processes, without mapped files."""

    def __init__(self, **processes: int) -> None:
        super().__init__(daemon=True)
        self._processes, self.samples = processes, {name: list[float]() for name in processes}
        self.start()

    def run(self) -> None:
        while True:
            for name, process in self._processes.items():
                try:
                    status = Path(f"/proc/{process}/status").read_text()
                except OSError:
                    return
                if "RssAnon:" in status:  # not those of a process that has ended
                    self.samples[name].append(int(status.partition("RssAnon:")[2].split()[0]) / 1024)
            time.sleep(0.5)


def prepare(options: argparse.Namespace, folder: Path, cluster: Cluster) -> None:
    lines = read(options.source), read(options.target)
    corpus = make_corpus(*lines, options.pairs, folder)
    valid = make_corpus(lines[0][-1000:], lines[1][-1000:], 1000, folder)
    small = make_corpus(*lines, min(20_000, len(lines[0])), folder)
    held = ["--valid-source", valid[0], "--valid-target", valid[1]]
    timed("prepare", "-o", folder / "first", "--train-source", small[0], "--train-target", small[1], *held)
    base = ["prepare", "--train-source", corpus[0], "--train-target", corpus[1], *held]
    base += ["--tokenizer", folder / "first"]
    cluster.add(options.workers)
    cluster.joined(options.workers)
    alone = timed(*base, "-o", folder / "alone", "--processes", options.workers)
    begin = time.perf_counter()
    process = nmt(*base, "-o", folder / "many", "--scheduler", cluster.file, prefix=cluster.on(0))
    memory = Memory(scheduler=cluster.scheduler.pid, client=process.pid)
    _, said = process.communicate()
    many = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(said)
    reports = [(folder / name / "report.json").read_bytes() for name in ("alone", "many")]
    content = [digests(folder / name) for name in ("alone", "many")]
    print(row(["", "seconds", "pairs/s"]))
    print("|---|---:|---:|")
    for name, seconds in ((f"--processes {options.workers}", alone), (f"{options.workers} workers", many)):
        print(row([name, f"{seconds:.0f}", f"{options.pairs / seconds:,.0f}"]))
    print(f"\n{options.pairs:,} pairs: the reports are {'equal' if reports[0] == reports[1] else 'NOT equal'},")
    print(f"the pairs are {'equal' if np.array_equal(*content) else 'NOT equal'} ({len(content[0]):,} kept)")
    for name, samples in memory.samples.items():
        quarter = max(1, len(samples) // 4)
        shown = ", ".join(f"{max(samples[n : n + quarter]):.0f}" for n in range(0, len(samples), quarter))
        print(f"memory of the {name} in MiB, the largest in each quarter of the time: {shown}")


def digests(directory: Path) -> np.ndarray:
    """A hash of each pair of the training data, sorted."""
    shards, found = open_data(directory).train, []
    for start in range(0, len(shards), 100_000):
        rows = np.arange(start, min(start + 100_000, len(shards)))
        both = shards.gather(rows)
        sides = [np.split(side.ids.astype(np.uint16), side.lengths.cumsum(dtype=np.int64)[:-1]) for side in both]
        texts = [a.tobytes() + b"|" + b.tobytes() for a, b in zip(*sides, strict=True)]
        found.append(np.fromiter(hashes(texts), np.uint64))
    return np.sort(np.concatenate(found))


def faults(options: argparse.Namespace, folder: Path, cluster: Cluster) -> None:
    text = make_text(options.text, options.lines, folder / "text")
    base = ["translate", "-m", options.model.resolve(), "-i", text, *SEARCH]
    expected = folder / "alone"
    timed(*base, "-o", expected, "--processes", "2")
    address = cluster.hosts[0][1]
    print(row(["what happens", "code", "seconds", "what nmt says"]))
    print("|---|---:|---:|---|")

    def show(name: str, process: subprocess.Popen, begin: float) -> None:
        _, said = process.communicate()
        first = "; ".join(said.strip().splitlines()).replace(str(folder), "").replace("|", "\\|")
        print(row([name, str(process.returncode), f"{time.perf_counter() - begin:.1f}", first]), flush=True)

    def run(name: str, *words: object) -> None:
        begin = time.perf_counter()
        show(name, nmt(*base, *words, prefix=cluster.on(0)), begin)

    output = folder / "out"
    run("no scheduler at the address", "-o", output, "--scheduler", f"tcp://{address}:9")
    run("no scheduler file", "-o", output, "--scheduler", folder / "missing.json")
    cluster.add(2)
    cluster.joined(2)
    (folder / "old").mkdir()
    (folder / "old" / "sitecustomize.py").write_text("import nmtcli.version\nnmtcli.version.__version__ = '0.0.1'\n")
    cluster.add(1, PYTHONPATH=os.pathsep.join([str(folder / "old"), os.environ.get("PYTHONPATH", "")]))
    cluster.joined(3)
    run("a worker of another version", "-o", output, "--scheduler", cluster.file)
    cluster.kill(cluster.workers.pop())
    cluster.add(1, without=options.model.resolve())
    cluster.joined(4)
    run("a worker that does not see the model", "-o", output, "--scheduler", cluster.file)
    cluster.kill(cluster.workers.pop())
    process = nmt(*base, "-o", output, "--scheduler", cluster.file, prefix=cluster.on(0))
    wait_for(output, process, options.lines // 10)
    begin = time.perf_counter()
    cluster.kill(cluster.scheduler)
    cluster.scheduler = cluster.start_scheduler()
    show("the scheduler is restarted", process, begin)
    for worker in cluster.workers:
        if worker.poll() is None:
            cluster.kill(worker)
    cluster.workers.clear()
    registered = (folder / "scheduler.log").read_text().count("Register worker")
    cluster.add(2)
    cluster.joined(registered + 2)
    process = nmt(*base, "-o", output, "--scheduler", cluster.file, "--resume", prefix=cluster.on(0))
    if len(cluster.hosts) > 1:
        wait_for(output, process, options.lines // 2)
        subprocess.run(["ip", "-n", cluster.hosts[1][0], "link", "set", "eth0", "down"], check=True)
    begin = time.perf_counter()
    show("--resume; then the host of one of two workers is unreachable", process, begin)
    same = output.exists() and output.read_bytes() == expected.read_bytes()
    print(f"\nthe bytes are {'equal' if same else 'NOT equal'} to those of two processes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function, lines in ((translate, 200_000), (overhead, 20_000), (faults, 20_000)):
        one = commands.add_parser(function.__name__)
        one.add_argument("model", type=Path)
        one.add_argument("text", type=Path)
        one.add_argument("--lines", type=int, default=lines)
        one.add_argument("--rounds", type=int, default=3)
        one.add_argument("--hosts", nargs=2, default=[])
        one.set_defaults(run=function)
    one = commands.add_parser("prepare")
    one.add_argument("source", type=Path)
    one.add_argument("target", type=Path)
    one.add_argument("--pairs", type=int, default=5_000_000)
    one.add_argument("--workers", type=int, default=2)
    one.add_argument("--hosts", nargs=2, default=[])
    one.set_defaults(run=prepare)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no process stays behind
    with tempfile.TemporaryDirectory() as scratch:
        cluster = Cluster(Path(scratch), options.hosts)
        try:
            options.run(options, Path(scratch), cluster)
        finally:
            cluster.close()


if __name__ == "__main__":
    main()

"""Is training on two hosts the training of one, and what happens when one is lost? Started by `multi_node.sh`.

Each host is a network namespace; both see the same files. An update is four micro-batches: 1 rank computes all of them,
4 ranks one each. Without dropout and in fp32, all runs have the same losses and gradients to rounding; the table has
the largest relative differences from one rank. Then one host is killed in the middle of a run, which ends, and one host
resumes it; the second host sees another run directory; and the link is slow.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from training import events, row

SETTINGS = [
    *("model.dropout=0", "model.recurrent_dropout=0", "model.word_dropout=0", "train.precision=fp32"),
    *("model.encoder.type=transformer", "model.decoder.type=transformer", "model.embedding.size=64"),
    *("model.encoder.hidden_size=64", "model.decoder.hidden_size=64", "train.batch_tokens=500"),
    *("train.update_tokens=1700", "train.log_every=1", "train.threads=1", "train.patience=null"),
    *("train.save_every=10", "train.valid_sentences=20", "train.learning_rate=0.001"),
]
TOLERANCE = 1e-3  # of losses and gradient norms in a run of some updates
ENDING = 120.0  # seconds that a run may take to notice a lost host
# how the link is made slow; a kernel may lack the first
SLOW = (["netem", "delay", "5ms", "rate", "5mbit"], ["tbf", "rate", "5mbit", "burst", "32kbit", "latency", "400ms"])


class Hosts:
    """Network namespaces with their addresses, and how to train on them."""

    def __init__(self, given: list[str], data: Path, folder: Path, settings: list[str]) -> None:
        self.names = [one.partition("=")[0] for one in given]
        self.addresses = [one.partition("=")[2] for one in given]
        self.data, self.folder, self.settings, self._port = data, folder, settings, 29500

    def start(self, run: Path, hosts: int, ranks: int, *settings: str, hidden: bool = False) -> list[subprocess.Popen]:
        """torchrun on so many hosts with so many ranks each; `hidden`: the second one has another run directory."""
        self._port += 1
        started = []
        for number in range(hosts):
            command = ["ip", "netns", "exec", self.names[number]]
            if hidden and number:
                # the namespace has mounts of its own
                command += ["sh", "-c", f'mount -t tmpfs none "{run.parent}" && exec "$0" "$@"']
            command += [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(hosts)]
            command += ["--nproc-per-node", str(ranks), "--rdzv-backend", "c10d", "--rdzv-id", str(self._port)]
            command += ["--rdzv-endpoint", f"{self.addresses[0]}:{self._port}", "--local-addr", self.addresses[number]]
            # torchrun would compare the address with that of the host name, which is the same in both namespaces
            command += ["--rdzv-conf", f"is_host={int(number == 0)}"]
            command += ["-m", "nmtcli", "train", str(self.data), "-o", str(run), "--device", "cpu"]
            command += [part for one in (*self.settings, *settings) for part in ("--set", one)]
            environment = os.environ | {"GLOO_SOCKET_IFNAME": "eth0", "OMP_NUM_THREADS": "1"}
            log = self.log(run, number).open("wb")
            started.append(
                subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True, cwd="/")
            )
        return started

    def log(self, run: Path, host: int) -> Path:
        return self.folder / f"{run.name}-{host}.log"

    def train(self, run: Path, hosts: int, ranks: int, *settings: str) -> float:
        """Seconds of a whole training."""
        begin = time.perf_counter()
        codes = [process.wait() for process in self.start(run, hosts, ranks, *settings)]
        if any(codes):
            raise SystemExit(f"{run.name}: exit codes {codes}\n{self.log(run, 0).read_text()[-3000:]}")
        return time.perf_counter() - begin

    def link(self, command: str, *words: str) -> bool:
        """Add a queue that slows the cable down, on both sides, or delete it; False if the kernel cannot."""
        queue = [command, "dev", "eth0", "root", *words]
        commands = [["tc", "-n", name, "qdisc", *queue] for name in self.names]
        done = [subprocess.run(one, check=False, capture_output=True).returncode for one in commands]
        return not any(done)


def losses(run: Path, key: str = "loss") -> list[float]:
    return [event[key] for event in events(run) if event["event"] == "updated"]


def difference(one: list[float], other: list[float]) -> float:
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def said(text: str) -> str:
    """The first line of `nmt` in a log of torchrun."""
    found = re.search(r"^error: .*", text, re.MULTILINE)
    return found[0] if found else "nothing"


def wait_for(run: Path, step: int, processes: list[subprocess.Popen]) -> None:
    while not (run / "last").exists() or int((run / "last").read_text().strip().rpartition("-")[2]) < step:
        if any(process.poll() is not None for process in processes):
            raise SystemExit("the run ended too early")
        time.sleep(0.05)


def end(process: subprocess.Popen, limit: float) -> int:
    """The exit code of torchrun and its ranks, which are stopped if they do not end."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        stop(process)
        raise SystemExit(f"still running after {limit:.0f} s") from None


def stop(process: subprocess.Popen) -> None:
    """SIGKILL of torchrun and all its ranks, which have sessions of their own."""
    listed = ["ps", "-o", "pid=", "--ppid", str(process.pid)]
    ranks = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
    for number in (process.pid, *map(int, ranks)):
        os.kill(number, signal.SIGKILL)
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--hosts", nargs=2, required=True, metavar="NAMESPACE=ADDRESS")
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    updates = [f"train.max_updates={options.updates}", f"train.valid_every={options.updates}"]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        hosts = Hosts(options.hosts, options.data.resolve(), folder, [*SETTINGS, *updates, *options.set])
        wrong = table(hosts, folder / "runs")
        wrong += lost_host(hosts, folder / "runs", options.updates)
        wrong += other_folder(hosts, folder / "runs")
    if wrong:
        raise SystemExit("\n".join(wrong))


def table(hosts: Hosts, folder: Path) -> list[str]:
    """Print the table; returns what is wrong."""
    folder.mkdir()
    print(row(["hosts × ranks", "model", "losses", "gradient norms", "validation loss", "seconds"]))
    print("|---|---|---:|---:|---:|---:|")
    wrong: list[str] = []
    first = folder / "1x1"
    for count, ranks, kind in ((1, 1, ""), (1, 4, ""), (2, 2, ""), (1, 4, "FSDP2"), (2, 2, "FSDP2"), (2, 2, "slow")):
        words = next((one for one in SLOW if hosts.link("add", *one)), []) if kind == "slow" else []
        if kind == "slow" and not words:
            print("\nslow link: not measured, the kernel has neither netem nor tbf")
            continue
        run = folder / f"{count}x{ranks}{kind}"
        seconds = hosts.train(run, count, ranks, *(["train.sharded=true"] if kind == "FSDP2" else []))
        if kind == "slow":
            hosts.link("del")
        differ = [difference(losses(first, key), losses(run, key)) for key in ("loss", "gradient_norm")]
        valid = [event for event in events(run) if event["event"] == "validated"][-1]["loss"]
        how = {"": "replicated", "slow": f"replicated, link {' '.join(words)}"}.get(kind, kind)
        print(row([f"{count} × {ranks}", how, *(f"{one:.1e}" for one in differ), f"{valid:.4f}", f"{seconds:.0f}"]))
        wrong += [f"{run.name}: differs by {max(differ):.1e}"] if max(differ) > TOLERANCE else []
    return wrong


def lost_host(hosts: Hosts, folder: Path, updates: int) -> list[str]:
    """Kill one host in the middle; what is wrong."""
    run = folder / "killed"
    processes = hosts.start(run, 2, 2)
    wait_for(run, 10, processes)
    stop(processes[1])
    begin = time.perf_counter()
    code = end(processes[0], ENDING)
    print(f"\none host killed: the other ended after {time.perf_counter() - begin:.0f} s with code {code}")
    print(f"it said: {said(hosts.log(run, 0).read_text())}")
    hosts.train(run, 1, 2)
    differ = difference(losses(folder / "1x1"), losses(run))
    print(f"one host with 2 ranks resumed it to update {updates}: losses differ by {differ:.1e} from those of one rank")
    return [f"resumed: differs by {differ:.1e}"] if differ > TOLERANCE or not code else []


def other_folder(hosts: Hosts, folder: Path) -> list[str]:
    """Start with a second host that does not share the run directory; what is wrong."""
    run = folder / "hidden"
    processes = hosts.start(run, 2, 2, hidden=True)
    codes = [end(process, ENDING) for process in processes]
    word = said(hosts.log(run, 0).read_text())
    print(f"\nthe second host has another run directory: codes {codes}; the first said: {word}")
    return [f"another folder: {word}"] if "sees a different" not in word or not all(codes) else []


if __name__ == "__main__":
    main()

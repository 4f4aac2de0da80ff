"""Start several processes on this machine that train together, by PyTorch's own elastic launcher."""

import logging
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import elastic_launch
from torch.distributed.run import config_from_args, parse_args

from nmtcli.errors import ExitCode, ResourceError, UserError

GRACE = 120  # seconds that a rank has for its last checkpoint


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run `nmt` with these arguments as `count` ranks, each with a device of its own; returns the exit code.

    A rank that ends badly ends them all: if it said why, its code is returned. Raises ResourceError where a rank was
    killed from outside and could say nothing.
    """
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(GRACE))
    # what torchrun would set, with a warning
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "--rdzv-id", uuid4().hex]
    command_line = [*meeting, "--nproc-per-node", str(count), "-m", "nmtcli", *arguments]
    config, command, rest = config_from_args(parse_args(command_line))  # type: ignore[no-untyped-call]
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what matters is said below
    try:
        elastic_launch(config, command)(*rest)
    except SignalException as ending:
        return 128 + int(ending.sigval)
    except ChildFailedError as error:
        first = min(error.failures.values(), key=lambda failure: failure.timestamp)
        if first.exitcode > 0:
            return int(first.exitcode)
        name = str(first.exitcode)
        with suppress(ValueError):
            name = signal.Signals(-first.exitcode).name
        raise ResourceError(
            f"rank {first.local_rank} (pid {first.pid}) was killed by {name}, and with it all ranks ended",
            "look in the system's log for the reason (memory?), then run the same command: it resumes from the"
            " last checkpoint, also with another --gpus",
        ) from None
    return ExitCode.DONE


def check_count(count: int, device: str) -> None:
    """Raises UserError where there are fewer GPUs; any number of processes may share a CPU that is asked for."""
    if device in ("cuda", "auto") and count > torch.cuda.device_count():
        raise UserError(
            f"--gpus {count}: number of GPUs that PyTorch sees: {torch.cuda.device_count()}",
            "use fewer, or --device cpu",
        )

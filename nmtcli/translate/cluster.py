"""Translation on the workers of a cluster: what must be the same on all of them, so that the bytes are.

Models are opened by path, once in each worker, from storage that all machines share.
"""

import importlib.metadata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

from nmtcli.checkpoint import read_info
from nmtcli.data.workers import Workers, connected, require_versions
from nmtcli.errors import UserError
from nmtcli.options import Tell
from nmtcli.translate.job import Job, WindowTranslator, digest_model
from nmtcli.translate.lines import Window
from nmtcli.translate.segments import SegmentWindow
from nmtcli.version import __version__

GPU = "GPU"  # Dask's resource of workers that have a GPU
_ENGINES = {"pytorch": "torch", "onnx": "onnxruntime", "ctranslate2": "ctranslate2"}  # their packages


@dataclass(frozen=True)
class Installation:
    """What translations depend on in a machine, besides the settings."""

    versions: dict[str, str]  # of packages
    digests: tuple[str, ...]  # of the models
    precision: str  # how matrices are multiplied
    instructions: str  # the instruction set, or the GPU: a few kernels round differently, which is told


def installation(job: Job) -> Installation:
    """The installation of this machine. Raises DataError for a model that is not there."""
    infos = [read_info(model) for model in job.models]
    packages = sorted({"sentencepiece", *(_ENGINES[info.kind] for info in infos)})
    versions = {"nmtcli": __version__} | {name: importlib.metadata.version(name) for name in packages}
    digests = tuple(map(digest_model, job.models))
    return Installation(versions, digests, *(_kernels(job) if "torch" in versions else ("", "")))


def _kernels(job: Job) -> tuple[str, str]:
    """The precision of products and the instruction set of PyTorch for a job."""
    import torch  # noqa: PLC0415 - heavy, and not needed for exports

    from nmtcli.models.packed import product_of  # noqa: PLC0415 - imports torch

    if job.device.startswith("cuda") and torch.cuda.is_available():
        return f"{job.quantize or 'fp32'} on a GPU", torch.cuda.get_device_name()
    kind = torch.bfloat16 if job.quantize == "bf16" else torch.float32
    return f"{job.quantize or 'fp32'} ({product_of(kind)})", torch.backends.cpu.get_cpu_capability()


def require_equal(expected: Installation, found: Installation, worker: str = "") -> None:
    """Raise UserError for another version, model or precision than expected."""
    require_versions(expected.versions, found.versions, worker)
    of = f"{worker}: " if worker else ""
    if found.digests != expected.digests:
        raise UserError(f"{of}sees another model at this path", "share one folder between all machines")
    if found.precision != expected.precision:
        raise UserError(
            f"{of}computes in {found.precision}, others in {expected.precision}",
            "use machines of one kind, so that translations do not depend on the machine",
        )


@contextmanager
def cluster_workers(scheduler: str, job: Job, tell: Tell) -> Iterator[Callable[[], Workers]]:
    """A function that makes workers on the cluster of a scheduler, which are checked now.

    Raises UserError, DataError or ResourceError for a scheduler that does not answer, or a worker that differs.
    """
    job = replace(job, models=tuple(model.absolute() for model in job.models), threads=1)
    with connected(scheduler, tell) as cluster:
        resources = {GPU: 1.0} if job.device.startswith("cuda") else {}
        able = cluster.wait_for_workers(resources)
        here, workers = installation(job), cluster.run(partial(installation, job), able)
        first = next(iter(workers.values()))
        expected = replace(here, precision=first.precision)  # this machine only reads and writes
        for worker, found in workers.items():
            require_equal(expected, found, f"worker {worker}")
        if len(kinds := sorted({found.instructions for found in workers.values()})) > 1:
            tell(
                f"the workers have different processors ({', '.join(kinds)}): translations may depend on which worker"
                " computes them",
                warning=True,
            )
        yield lambda: cluster.workers(partial(_make_worker, job, expected), _name, resources)


def _make_worker(job: Job, expected: Installation) -> WindowTranslator:
    require_equal(expected, installation(job))  # a worker may join late
    worker = WindowTranslator(job)
    worker.open()
    return worker


def _name(window: Window | SegmentWindow) -> str:
    """The lines of a window, for messages."""
    return f"lines {window.places[0]:,} to {window.places[-1]:,}"

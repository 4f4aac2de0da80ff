"""The ONNX Runtime engine, on NumPy arrays and without PyTorch."""

from pathlib import Path
from typing import Any

from nmtcli.errors import DataError, UserError, memory_ran_out
from nmtcli.models.protocol import Array, Cache, Memory, Step
from nmtcli.staging import check_name
from nmtcli.translate.concurrency import count_parallel_batches, usable_threads
from nmtcli.translate.forced import Floats, Ids, forced_by_steps

ENCODER_FILE, STEP_FILE = "encoder.onnx", "step.onnx"


class OnnxRuntime:
    """Runs the two graphs of an export. Memory and cache are dicts by the input names of the graphs."""

    def __init__(self, directory: Path, threads: int | None = None) -> None:
        """Open both graphs. Raises DataError if one is missing or damaged."""
        threads = threads or usable_threads()
        self.parallel_batches = count_parallel_batches(threads)
        inner = threads - self.parallel_batches + 1  # of the session, for all batches; the calling threads compute too
        self.encoder = _session(directory / ENCODER_FILE, inner)
        self.stepper = _session(directory / STEP_FILE, inner)
        self.start_names = [output.name for output in self.encoder.get_outputs()]
        self.step_names = [output.name for output in self.stepper.get_outputs()]

    def share(self, batches: int) -> None:
        """See `Shared`; the threads of a session serve all batches."""

    def array(self, values: Array) -> Array:
        """The NumPy array."""
        return values

    def start(self, source: Array, source_length: Array) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`."""
        arrays = self.encoder.run(None, {"source": source, "source_length": source_length})
        named = dict(zip(self.start_names, arrays, strict=True))
        memory = {name: array for name, array in named.items() if name.startswith("memory.")}
        cache = {name: array for name, array in named.items() if name.startswith("cache.")}
        return memory, cache

    def step(self, tokens: Array, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        arrays = self.stepper.run(None, {"tokens": tokens, **memory, **cache})
        named = dict(zip(self.step_names, arrays, strict=True))
        following = {name: named[f"next_{name}"] for name in cache}
        return Step(named["log_probs"], following, named.get("attention"))

    def forced(self, source: Ids, source_length: Ids, target: Ids, attention: bool) -> tuple[Floats, Floats | None]:
        """See `Forced`."""
        return forced_by_steps(self, source, source_length, target, attention)


def _session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("an ONNX model needs the onnx extra", "pip install 'nmtcli[onnx]'") from None
    if not path.is_file():
        raise DataError(f"{path}: missing", "the export is not complete; export it again")
    check_name(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no public base class
        if memory_ran_out(error):
            raise
        raise DataError(f"{path}: ONNX Runtime cannot open it: {error}", "export the model again") from None

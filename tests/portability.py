"""`make portability`: tests of products, quantized models, exports, search and training on emulated CPUs.

Each setting runs in a process of its own and is a row of the table. What is given on the command line goes to pytest.
ONNX Runtime has no switch that turns VNNI off, so there is no row for that.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import torch
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
# What depends on the instructions, and takes about a minute.
PYTORCH = [
    "tests/models/test_portability.py",
    "tests/models/test_quantized.py",
    "tests/models/test_device.py",
    "tests/models/test_loop.py",
    "tests/project/test_attended_step.py",
    "tests/models/test_transformer.py",
    "tests/export/test_export.py::test_onnx_translates_like_pytorch_in_batches_of_any_size",
    "tests/export/test_export.py::test_safetensors_of_an_average",
    "tests/export/test_export_formats.py::test_quantised_safetensors_translate_but_are_not_trained_on",
    "tests/laws/test_model_laws.py",
    "tests/laws/test_search_laws.py",
    "tests/train/test_loss.py",
    "tests/laws/test_training_laws.py::test_a_run_with_a_halved_learning_rate_resumes_exactly",
    "tests/laws/test_training_laws.py::test_micro_batches_together_are_one_batch",
]
CTRANSLATE2 = [
    "tests/export/test_export_formats.py::test_a_ctranslate2_model_translates_and_scores_like_its_run_and_without_torch",
    "tests/export/test_export_formats.py::test_plain_ctranslate2_and_sentencepiece_give_the_same_translations",
    "tests/export/test_export_formats.py::test_quantised_ctranslate2_is_smaller_checked_and_not_trained_on",
    "tests/laws/test_ctranslate2_laws.py",
]
# Runs other settings itself.
LEFT_OUT = ["--deselect", "tests/models/test_portability.py::test_products_and_quantized_models_on_a_poorer_cpu"]
KERNELS = """
import json
import torch
from nmtcli.models.packed import best_int8_kernel, product_of
print(json.dumps([best_int8_kernel(), *map(product_of, (torch.float32, torch.bfloat16, torch.float16))]))
"""


@dataclass(frozen=True)
class Setting:
    """Variables that limit which instructions a library uses, and the CPU feature without which they change nothing."""

    variables: dict[str, str]
    needs: str | None = None  # as `torch.cpu.get_capabilities` has it
    files: tuple[str, ...] = tuple(PYTORCH)

    def __str__(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.variables.items()) or "this CPU"

    @property
    def lacking(self) -> str | None:
        """The feature that this CPU lacks; None if the setting can be tried."""
        features = getattr(torch.cpu, "get_capabilities", dict)()
        return self.needs if self.needs and not features.get(self.needs) else None

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run Python under the setting, from the root of the repository."""
        environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ | self.variables  # as the command line sets it
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )


POOREST = Setting({"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"})
BETWEEN = Setting({"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}, "avx2")
ONEDNN = {
    "SSE41": "sse4_1",
    "AVX2": "avx2",
    "AVX2_VNNI": "avx_vnni",
    "AVX512_CORE": "avx512_bw",
    "AVX512_CORE_VNNI": "avx512_vnni",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_AMX": "amx_int8",
}
ATEN = {"default": None, "avx2": "avx2", "avx512": "avx512_bw"}
FORCED = {"GENERIC": None, "AVX": "avx", "AVX2": "avx2", "AVX512": "avx512_bw"}
SETTINGS = [
    Setting({}, files=(*PYTORCH, *CTRANSLATE2)),
    POOREST,
    *(Setting({"ONEDNN_MAX_CPU_ISA": value}, feature) for value, feature in ONEDNN.items()),
    *(Setting({"ATEN_CPU_CAPABILITY": value}, feature) for value, feature in ATEN.items()),
    *(Setting({"CT2_FORCE_CPU_ISA": value}, feature, tuple(CTRANSLATE2)) for value, feature in FORCED.items()),
    *(Setting({"CT2_USE_MKL": value}, "sse4_1", tuple(CTRANSLATE2)) for value in "01"),
]


def main(options: list[str]) -> int:
    """Print the table; 1 if a row failed."""
    progress, failures = Console(stderr=True, soft_wrap=True), []
    columns = ["setting", "passed", "failed", "skipped", "seconds", "int8 kernel", "fp32", "bf16", "fp16 products"]
    table = Table(*columns, box=None, pad_edge=False)
    for setting in SETTINGS:
        if setting.lacking:
            table.add_row(str(setting), f"this CPU lacks {setting.lacking}", style="dim")
            continue
        progress.print(f"{setting} …", highlight=False)
        row, output = tried(setting, options)
        table.add_row(str(setting), *row)
        if output:
            failures.append(str(setting))
            progress.print(output, markup=False, highlight=False)
    Console(width=200 if not sys.stdout.isatty() else None).print(table)
    return 1 if failures else 0


def tried(setting: Setting, options: list[str]) -> tuple[list[str], str]:
    """The cells of a row, and the output of tests that failed."""
    kernels = setting.run(["-c", KERNELS])
    chosen = json.loads(kernels.stdout) if kernels.returncode == 0 else ["failed"]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        done = setting.run(["-m", "pytest", *setting.files, *LEFT_OUT, f"--junit-xml={results}", *options])
        cells = [*read_counts(results), *chosen]
    fine = done.returncode == 0 and kernels.returncode == 0
    return cells, "" if fine else f"{kernels.stderr}{done.stdout}{done.stderr}"


def read_counts(results: Path) -> list[str]:
    """Passed, failed and skipped tests and the seconds, of pytest's JUnit report; zeros without one."""
    suite = ElementTree.parse(results).getroot().find("testsuite") if results.is_file() else None
    counts = {} if suite is None else suite.attrib
    tests, skipped = (int(counts.get(name, 0)) for name in ("tests", "skipped"))
    failed = int(counts.get("failures", 0)) + int(counts.get("errors", 0))
    return [str(tests - failed - skipped), str(failed), str(skipped), f"{float(counts.get('time', 0)):.0f}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

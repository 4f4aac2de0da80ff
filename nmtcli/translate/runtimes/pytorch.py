"""A PyTorch model as the search sees it."""

import torch
from torch import Tensor

from nmtcli.models.device import explain_out_of_memory
from nmtcli.models.protocol import Array, Cache, Memory, Step
from nmtcli.models.seq2seq import Seq2Seq


class TorchRuntime:
    """Runs a model on a device without gradients."""

    def __init__(self, model: Seq2Seq, device: torch.device) -> None:
        self.model = model.to(device)
        self.device = device

    def array(self, values: Array) -> Tensor:
        """A NumPy array as this runtime takes it."""
        return torch.as_tensor(values, device=self.device)

    @torch.inference_mode()
    def start(self, source: Tensor, source_length: Tensor) -> tuple[Memory, Cache]:
        """See `StepDecoder.start`."""
        with explain_out_of_memory("--batch-tokens"):
            return self.model.start(source, source_length)

    @torch.inference_mode()
    def step(self, tokens: Tensor, memory: Memory, cache: Cache) -> Step:
        """See `StepDecoder.step`."""
        with explain_out_of_memory("--batch-tokens or --beam-size"):
            return self.model.step(tokens, memory, cache)

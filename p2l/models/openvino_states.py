"""Run an encoder through OpenVINO on a CPU (extra ``openvino``), in float32, bfloat16 or int8."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino
import torch
from jaxtyping import Float, Int
from torch import Tensor

from p2l.models.openvino_export import exported
from p2l.models.p2l_model import P2LModel

# Activations are quantised in groups of this many: the largest that MiniLM's 384 allows without a loss beyond that of
# the weights.
INT8_GROUP = 64
# What a pass costs beside its tokens, in tokens: buckets are joined if that adds less padding.
FIXED_COST_TOKENS = 64


class OpenVinoStates:
    """Compute the hidden state of each prompt through OpenVINO, in batches of similar length.

    Computes in the precision of the network's weights: float32, or bfloat16 if the processor has instructions for it.
    ``int8`` quantises weights when they are exported, and activations as they come. Callable from several threads at a
    time, each on as many cores as torch's number of threads there.

    Args:
        network: an encoder; its weights are exported once and found again by their content.
        pad_token_id: fills up shorter prompts.
        max_length: most tokens of a prompt.
        int8: compute linear layers in 8 bits.
    """

    def __init__(self, network: P2LModel, pad_token_id: int, max_length: int, *, int8: bool = False) -> None:
        self._core = openvino.Core()
        fast_half = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        half = network.model.dtype == torch.bfloat16 and fast_half
        self.precision = ("int8 and " if int8 else "") + ("bfloat16" if half else "float32")
        self._options = {
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": INT8_GROUP if int8 else 0,
            "ENABLE_CPU_PINNING": False,  # other processes, and other lanes, use the same cores
        }
        self._model = exported(network, int8=int8)
        self._pad, self._max_length, self._cores = pad_token_id, max_length, torch.get_num_threads()
        self._compiled: dict[int, Any] = {}
        self._compiling = threading.Lock()
        self._of_thread = threading.local()

    def __call__(self, ids: Sequence[np.ndarray]) -> Float[Tensor, "prompts hidden"]:
        """Return the states of prompts given as token ids, none empty; float32."""
        request = self._request(torch.get_num_threads())
        states: Tensor | None = None
        for bucket, width in buckets_of(np.array([len(prompt) for prompt in ids]), self._max_length):
            tokens, mask = self._pad_to(width, [ids[i] for i in bucket])
            found = torch.from_numpy(request.infer([tokens, mask], share_inputs=True)[0])
            states = found.new_empty(len(ids), found.shape[1]) if states is None else states
            states[torch.from_numpy(bucket)] = found
        assert states is not None
        return states

    def _pad_to(
        self, width: int, ids: list[np.ndarray]
    ) -> tuple[Int[np.ndarray, "n width"], Int[np.ndarray, "n width"]]:
        tokens = np.full((len(ids), width), self._pad, dtype=np.int64)
        mask = np.zeros_like(tokens)
        for row, prompt in enumerate(ids):
            tokens[row, : len(prompt)], mask[row, : len(prompt)] = prompt, 1
        return tokens, mask

    def _request(self, threads: int) -> Any:
        """Return the calling thread's request to the program for this number of threads."""
        requests: dict[Any, Any] = self._of_thread.__dict__
        if threads not in requests:
            with self._compiling:
                if threads not in self._compiled:
                    self._compiled[threads] = self._compile(threads)
            requests[threads] = self._compiled[threads].create_infer_request()
        return requests[threads]

    def _compile(self, threads: int) -> Any:
        side_by_side = max(1, self._cores // threads)
        shared = {"NUM_STREAMS": side_by_side, "INFERENCE_NUM_THREADS": side_by_side * threads}
        return self._core.compile_model(self._model, "CPU", {**self._options, **shared})


def buckets_of(lengths: Int[np.ndarray, " prompts"], max_length: int) -> list[tuple[Int[np.ndarray, " some"], int]]:
    """Group prompts that share a pass: (positions, width), widths rising.

    Widths are from a grid, since the library prepares each new shape: multiples of 8, then of an eighth of the power of
    two below. A narrow bucket joins the next if the padding costs less than a pass.
    """
    steps = 2 ** np.maximum(3, np.log2(lengths).astype(np.int64) - 3)
    widths = np.minimum(-(-lengths // steps) * steps, max_length)
    order = np.argsort(widths, kind="stable")
    buckets: list[tuple[np.ndarray, int]] = []
    for width in np.unique(widths):
        positions = order[widths[order] == width]
        if buckets and len(buckets[-1][0]) * (int(width) - buckets[-1][1]) <= FIXED_COST_TOKENS:
            positions = np.concatenate((buckets.pop()[0], positions))
        buckets.append((positions, int(width)))
    return buckets

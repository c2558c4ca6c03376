"""Export an encoder to OpenVINO's format, once for each content: the folder in the cache is named by a digest of it."""

import hashlib
import json
import logging
import shutil
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
import transformers
from openvino import opset13
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from p2l.files import cache_folder, whole_folder
from p2l.models.p2l_model import P2LModel

log = logging.getLogger(__name__)

FORMAT = 1  # of the exported graph; another number makes new folders
FILE = "model.xml"  # the weights are in model.bin beside it
# The attention of the exported graph in transformers' table.
SEEING_ITSELF = "sdpa_seeing_itself"
EXAMPLE = ((5, 6, 7, 8, 9), (5, 6, 7, 0, 0))


class _States(nn.Module):
    """What is exported: token ids and mask in, the hidden states that the head reads out."""

    def __init__(self, network: P2LModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.network.hidden(input_ids, attention_mask)


def exported(network: P2LModel, *, int8: bool) -> openvino.Model:
    """Return the graph of a network: (prompts, tokens) ids and mask to (prompts, hidden) states, weights in float32.

    It is read from the cache, or exported and written there. ``int8`` stores the weights of linear layers in 8 bits,
    with a scale for each output.
    """
    folder = cache_folder() / "openvino" / content_digest(network, int8=int8)
    file = folder / FILE
    if file.exists():
        try:
            return openvino.Core().read_model(file)
        except RuntimeError as error:
            log.warning("%s cannot be read and is written again: %s", folder, str(error).strip().splitlines()[0])
            shutil.rmtree(folder, ignore_errors=True)
    model = export(network)
    if int8:
        compress_weights(model)
    _keep(model, folder)
    return model


def content_digest(network: P2LModel, *, int8: bool) -> str:
    """Return a digest of what the exported graph depends on: backbone, readout, weights, versions of the libraries."""
    described = {
        "format": FORMAT,
        "versions": [openvino.__version__, torch.__version__, transformers.__version__],
        "backbone": type(network.model).__name__,
        "config": network.model.config.to_dict(),
        "readout": [network.readout, network.cls_token_id],
        "int8": int8,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for name, weight in sorted(network.model.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def export(network: P2LModel) -> openvino.Model:
    """Trace a network in float32 and translate the trace.

    By the frontend itself: ``openvino.convert_model`` would report its use to the makers of OpenVINO.
    """
    copied = deepcopy(network).float().eval()
    copied.packed = False
    AttentionInterface.register(SEEING_ITSELF, sdpa_attention_forward)
    AttentionMaskInterface.register(SEEING_ITSELF, _mask_seeing_itself)
    copied.model.set_attn_implementation(SEEING_ITSELF)
    ids = torch.tensor(EXAMPLE)
    frontend = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer: what depends on the example
        decoder = TorchScriptPythonDecoder(_States(copied), example_input=(ids, (ids != 0).long()))
        model = frontend.convert(frontend.load(decoder))
    for port in model.inputs:
        port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
        port.get_node().set_element_type(openvino.Type.i64)
    model.validate_nodes_and_infer_types()
    return model


def _mask_seeing_itself(**arguments: Any) -> Tensor | None:
    """Let padding see itself too: of a token that sees nothing torch makes zeros, OpenVINO NaN, which spreads."""
    mask = sdpa_mask(**arguments)
    if mask is None:
        return None
    return mask | (torch.arange(mask.shape[-2])[:, None] == torch.arange(mask.shape[-1]))


def compress_weights(model: openvino.Model) -> None:
    """Store the weights of linear layers as int8, symmetric, with a float32 scale for each output, in place."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "MatMul" or node.input_value(1).get_node().get_type_name() != "Constant":
            continue
        transposed = node.get_attributes()["transpose_b"]
        weight = node.input_value(1).get_node().data.astype(np.float32)
        weight = weight if transposed else weight.T
        scale = np.abs(weight).max(axis=1, keepdims=True) / 127
        scale[scale == 0] = 1.0
        small = opset13.constant(np.round(weight / scale).astype(np.int8))
        restored: Any = opset13.multiply(opset13.convert(small, "f32"), opset13.constant(scale.astype(np.float32)))
        if not transposed:
            restored = opset13.transpose(restored, opset13.constant([1, 0]))
        node.input(1).replace_source_output(restored.output(0))


def _keep(model: openvino.Model, folder: Path) -> None:
    """Write a graph to a folder that appears whole or not at all; warns if the cache cannot be written."""
    try:
        with whole_folder(folder) as part:
            openvino.serialize(model, part / FILE)
    except (OSError, RuntimeError) as error:
        log.warning("%s cannot be written, so that the next start exports again: %s", folder.parent, error)

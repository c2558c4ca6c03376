"""Backbones (any Hugging Face text model), readout, checkpoints in the published format, prediction in batches."""

from p2l.models.backbone import LoRA, load_backbone, local_folder, prepare_backbone
from p2l.models.checkpoint import Checkpoint
from p2l.models.checkpoint_reader import is_p2l_checkpoint, load_checkpoint
from p2l.models.hub import push_checkpoint
from p2l.models.model_recipe import ModelRecipe
from p2l.models.p2l_model import P2LModel
from p2l.models.predictor import Predictor, predict
from p2l.models.readout import Readout, read_out
from p2l.models.saving import save_checkpoint

__all__ = [
    "Checkpoint",
    "LoRA",
    "ModelRecipe",
    "P2LModel",
    "Predictor",
    "Readout",
    "is_p2l_checkpoint",
    "load_backbone",
    "load_checkpoint",
    "local_folder",
    "predict",
    "prepare_backbone",
    "push_checkpoint",
    "read_out",
    "save_checkpoint",
]

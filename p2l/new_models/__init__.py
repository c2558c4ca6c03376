"""Add new LLMs to a trained model: fit their rows of the head to their votes, and keep all other weights."""

from p2l.new_models.extend_checkpoint import extend_checkpoint, head_layers
from p2l.new_models.row_fit import PromptFeatures, RowFit, extract_features, fit_rows
from p2l.new_models.row_prior import RowPrior

__all__ = ["PromptFeatures", "RowFit", "RowPrior", "extend_checkpoint", "extract_features", "fit_rows", "head_layers"]

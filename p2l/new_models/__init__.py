"""New LLMs in a trained model: rows of the head fitted to their votes, everything else as it was."""

from p2l.new_models.extend_checkpoint import extended, layers_of
from p2l.new_models.row_fit import Reading, RowFit, fit_rows, read_prompts
from p2l.new_models.row_prior import RowPrior

__all__ = ["Reading", "RowFit", "RowPrior", "extended", "fit_rows", "layers_of", "read_prompts"]

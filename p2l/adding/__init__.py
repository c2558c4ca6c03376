"""New LLMs in a trained model: rows of the head fitted to their votes, everything else as it was."""

from p2l.adding.extend import extended, layers_of
from p2l.adding.job import AddModelsJob
from p2l.adding.prior import RowPrior
from p2l.adding.rows import Reading, RowFit, fit_rows, read_prompts

__all__ = ["AddModelsJob", "Reading", "RowFit", "RowPrior", "extended", "fit_rows", "layers_of", "read_prompts"]

"""One file per command, and what builds their parts from a Hydra configuration."""

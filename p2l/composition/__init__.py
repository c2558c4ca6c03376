"""From a Hydra configuration to objects: check and explain the options, then build the parts of a run."""

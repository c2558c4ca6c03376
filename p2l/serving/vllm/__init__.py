"""A plugin for vLLM: P2L checkpoints as pooling models, and the endpoint's routes on vLLM's server."""

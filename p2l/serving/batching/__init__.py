"""Collect concurrent prompts into batches, for the endpoint, the router and the explorer."""

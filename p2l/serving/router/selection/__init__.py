"""Select the models for a request."""

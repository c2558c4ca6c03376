"""Calls to the models: client, fallback, circuit breaker, providers."""

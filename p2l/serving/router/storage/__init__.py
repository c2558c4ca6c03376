"""Shared state, decisions and votes on disk."""

"""Servers: scores over HTTP and the OpenAI-compatible router."""

"""Entry point of ``python -m p2l.endpoint``; the server is ``p2l.serving.endpoint``."""

"""Score prompts over HTTP: ``python -m p2l.endpoint``, or ``create_app`` inside another server."""

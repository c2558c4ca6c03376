"""Score prompts over HTTP: ``python -m p2l.endpoint``, or ``p2l.endpoint.app.create_app`` inside another server."""

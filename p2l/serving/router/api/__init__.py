"""The HTTP APIs of the router, one file each."""

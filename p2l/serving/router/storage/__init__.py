"""State, decisions and votes on disk."""

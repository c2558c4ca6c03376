"""Statistics that leaderboards, evaluation, insight and routing share: bootstrap and intervals."""

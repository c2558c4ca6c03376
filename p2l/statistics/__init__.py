"""Bootstrap, intervals and multiple testing, shared by leaderboards, evaluation, insight, scaling and routing."""

"""Measure routing: measured scores, policies, cost-quality curves."""

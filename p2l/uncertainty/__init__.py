"""Fit and calibrate the posterior of a head: how far its coefficients can be trusted, prompt by prompt."""

"""Adversarial Robustness Toolbox (ART)."""

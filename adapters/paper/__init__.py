"""Attacks written here from their papers."""

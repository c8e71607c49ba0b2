"""Makers of documentation: pages that are written from the code or from stored runs."""

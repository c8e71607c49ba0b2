"""Adapters: any torch network as a classifier of an attack library, and that library's attacks for the bench."""

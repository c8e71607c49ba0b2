"""The engine: from a request to a stored run."""

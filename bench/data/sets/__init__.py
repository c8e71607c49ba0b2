"""The datasets that the bench brings: every module here exports ``DATASET`` and is the ``--data`` name."""

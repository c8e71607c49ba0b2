"""The rows of the suites, by library, and the methods that they run."""

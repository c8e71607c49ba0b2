"""The bench's own verifier of small ReLU networks."""

from bench.libraries import Library

LIBRARY = Library(name="certify", label="certified", verifier="bench.certify.verifier:VERIFIER", ours=True, marker="^")

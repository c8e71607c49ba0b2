"""The minimal-norm robustness bench: image by image, how small a change makes a classifier wrong?"""

__version__ = "0.1.0"

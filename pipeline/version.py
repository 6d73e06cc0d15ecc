"""The version, for packaging and for every output's metadata."""

__version__ = "0.1.0"

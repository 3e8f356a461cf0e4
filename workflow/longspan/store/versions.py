"""The version of the package, and of the tables it writes."""

__version__ = "0.1.0"

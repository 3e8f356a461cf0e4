"""The settings: their form, checks and names, read once."""

"""Plug-ins: closed blocks of options, and how the file of a kind's member is found by its name."""

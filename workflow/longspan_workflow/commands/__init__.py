"""The command `longspan`."""

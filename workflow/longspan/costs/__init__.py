"""Formulas: what a step needs in time, memory and disk."""

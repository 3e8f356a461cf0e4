"""Scores of windows by frozen models: short and long NLL, attention statistics, their store."""

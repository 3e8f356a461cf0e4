"""Paths, inputs and parameters of the rules, a module for each rule file."""

"""Functions that rules call: Snakemake inspects their parameters several times a job."""

from collections.abc import Callable

from snakemake.common import get_function_params, overwrite_function_params


def remember_parameters(function: Callable) -> Callable:
    """Let Snakemake look a function's parameters up instead of inspecting it each time."""
    overwrite_function_params(function, get_function_params(function))
    return function

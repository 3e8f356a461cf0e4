"""What keeps the DAG of thousands of shards quick to make; none of it changes what runs.

Some of it rests on names that Snakemake keeps to itself: where a version lacks one, that part is left out.
"""

import atexit
import functools
import gc
from collections.abc import Callable, Iterator
from contextlib import suppress

from snakemake.common import get_function_params, overwrite_function_params
from snakemake.jobs import Job
from snakemake.resources import Resource


def prepare_large_dag(workflow) -> None:
    """Save Snakemake what it would do again and again. It comes after all rules that have functions."""
    put_off_garbage_collection()
    for part in (remember_parameters, leave_paths_alone, format_commands_once):
        with suppress(AttributeError):
            part(workflow)


def put_off_garbage_collection() -> None:
    """Look for no garbage until the first job starts, and take nothing apart at the end.

    The jobs of the DAG stay until then, and go with the process. Each of the two is a fifth of the time.
    """
    gc.disable()
    atexit.register(gc.freeze)


def collect_garbage_again() -> None:
    """Look for garbage again as jobs run, but not among what is there by now."""
    gc.freeze()
    gc.set_threshold(1_000_000)
    gc.enable()


def remember_parameters(workflow) -> None:
    """Let Snakemake look the parameters of functions up, which it else inspects several times a job."""
    overwrite_function_params(Resource.evaluate, get_function_params(Resource.evaluate))
    for rule in workflow.rules:
        for function in _functions(rule):
            # A method's attributes are those of its function.
            overwrite_function_params(getattr(function, "__func__", function), get_function_params(function))


def _functions(rule) -> Iterator[Callable]:
    resources = (resource._evaluator for resource in rule.resources.values())
    for value in (*rule.input, *rule.params, *resources):
        function = getattr(getattr(value, "_file", value), "callable", value)
        if callable(function):
            yield function


def leave_paths_alone(workflow) -> None:
    """Wrap no path from a function once more for a prefix or a default storage, where there is neither."""
    modifier = workflow.modifier.path_modifier
    if modifier.modifies_prefixes or workflow.storage_settings.default_storage_provider is not None:
        return
    for rule in workflow.rules:
        if rule.input_modifier is modifier:
            rule.input_modifier = None


def format_commands_once(workflow) -> None:
    """Format a job's command once for what a dry run says of it, not three times.

    Between these three nothing changes that a command names.
    """
    if workflow.output_settings.dryrun:
        Job.shellcmd = property(functools.lru_cache(maxsize=1)(Job.shellcmd.fget))

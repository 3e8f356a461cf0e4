"""
What keeps the DAG of thousands of shards quick to make; none of it changes what runs. It comes after all rules.
"""

import gc

from longspan_workflow.rule_functions import remember_parameters

# The jobs stay to the end; looking through them for garbage again and again is a fifth of the time until the
# first job starts.
gc.set_threshold(1_000_000)

for paths in (Layout, Runs, Exports):
    for function in filter(callable, vars(paths).values()):
        remember_parameters(function)

# Snakemake wraps each path that a function gives once more, for a module's prefix or a default storage: a tenth of
# the time where there is neither.
path_modifier = workflow.modifier.path_modifier
if (
    not path_modifier.modifies_prefixes
    and workflow.storage_settings.default_storage_provider is None
):
    for own in workflow.rules:
        if own.input_modifier is path_modifier:
            own.input_modifier = None

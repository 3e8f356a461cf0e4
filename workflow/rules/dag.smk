"""
The DAG of thousands of shards: it is made as quickly as Snakemake can. This comes after all rules
that have functions. In another workflow, as a module, nothing of it is touched.
"""

if not IS_MODULE:
    from longspan_workflow.running.large_dags import (
        collect_garbage_again,
        prepare_large_dag,
    )

    prepare_large_dag(workflow)

    onstart:
        collect_garbage_again()

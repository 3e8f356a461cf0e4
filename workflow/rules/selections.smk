"""
Selections: which windows are kept, over all shards at once.

REQUIRED INPUTS: results/windows/{windowing}/{shard}.parquet
    results/scores/{windowing}/{scorer}/{shard}.parquet
OUTPUTS: results/selections/{selection}.parquet
"""


rule select_windows:
    input:
        windows=layout.selection_windows,
        scores=layout.selection_scores,
    output:
        layout.selection,
    log:
        layout.log("select_windows", "selection"),
    benchmark:
        layout.benchmark("select_windows", "selection")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    params:
        settings=as_json(layout.selection_settings),
        windows=lambda wildcards, input: str(Path(input.windows[0]).parent),
        scores=lambda wildcards, input: str(Path(input.scores[0]).parent),
        shards=lambda wildcards: layout.shard_count(
            layout.selection_windowing(wildcards)
        ),
        code=code_digest("select_windows"),
    shell:
        """
        python "$SCRIPTS"/select_windows.py --settings {params.settings:q} \
            --windows {params.windows:q} --scores {params.scores:q} --shards {params.shards} \
            --selection {output:q} 2>&1 | tee {log:q}
        """

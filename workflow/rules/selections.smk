"""
Selections: which windows are kept, over all shards at once.

REQUIRED INPUTS: results/windows/{windowing}/{shard}.parquet
    results/scores/{windowing}/{scorer}/{shard}.parquet (methods longattn, nll_gain)
    results/corpora/{corpus}/documents/{shard}.parquet (method gzip)
OUTPUTS: results/selections/{selection}.parquet, results/selections/{selection}.kept.parquet
"""


rule select_windows:
    input:
        unpack(layout.selection_sources),
        windows=layout.selection_windows,
    output:
        layout.selection,
    log:
        layout.log("select_windows", "selection"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("select_windows"),
        runtime=needs.minutes("select_windows"),
    params:
        settings=as_json(layout.selection_settings),
        windows=lambda wildcards, input: str(Path(input.windows[0]).parent),
        sources=lambda wildcards, input: [
            argument
            for name in ("scores", "documents")
            if input.get(name)
            for argument in (f"--{name}", str(Path(input[name][0]).parent))
        ],
        shards=lambda wildcards: layout.shard_count(
            layout.selection_windowing(wildcards)
        ),
        code=code_digest("select_windows"),
    shell:
        """
        python "$SCRIPTS"/select_windows.py --settings {params.settings:q} \
            --windows {params.windows:q} {params.sources:q} --shards {params.shards} \
            --selection {output:q} 2>&1 | tee {log:q}
        """


# The jobs of thousands of shards wait for this list. Snakemake looks through all inputs of whatever they wait for,
# once a job, and a selection has as many inputs as there are shards.
rule list_kept_windows:
    input:
        layout.selection,
    output:
        layout.kept,
    log:
        layout.log("list_kept_windows", "selection"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("select_windows"),
        runtime=needs.minutes("select_windows"),
    params:
        code=code_digest("list_kept_windows"),
    shell:
        """
        python "$SCRIPTS"/list_kept_windows.py --selection {input:q} --kept {output:q} 2>&1 | tee {log:q}
        """

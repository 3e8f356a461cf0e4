"""
Selections: which windows are kept, over all shards at once.

REQUIRED INPUTS: results/windows/{windowing}/{shard}.parquet, and what the method says that it looks at:
    results/scores/{windowing}/{scorer}/{shard}.parquet, results/corpora/{corpus}/documents/{shard}.parquet,
    results/tokens/{corpus}/{tokenizer}/{shard}.parquet
    results/selections/{cascade}.stage{number}.parquet (a later stage of a cascade: the one before)
OUTPUTS: results/selections/{selection}.parquet, results/selections/{selection}.kept.parquet
    A stage of a cascade is a selection of its own; the last one's name is the cascade's.
"""

selections = wiring.selections


rule select_windows:
    """Score, rank, and why each window is kept or not."""
    input:
        unpack(selections.sources),
        windows=selections.windows,
        before=selections.before,
    output:
        places.selection,
    log:
        places.log("select_windows", "selection"),
    benchmark:
        places.benchmark("select_windows", "selection")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("select_windows"),
        runtime=needs.minutes("select_windows"),
    params:
        settings=as_json(selections.settings),
        windows=lambda wildcards, input: str(Path(input.windows[0]).parent),
        sources=selections.source_arguments,
        shards=selections.shard_count,
        code=lambda wildcards: code_of(
            "select_windows",
            SELECTION_METHODS.source_file(selections.method(wildcards)),
        ),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/select_windows.py --settings {log:q}.settings.json \
            --windows {params.windows:q} {params.sources:q} --shards {params.shards} \
            --before {input.before:q} --selection {output:q} 2>&1 | tee {log:q}
        """)


# The jobs of thousands of shards wait for this list. Snakemake looks through all inputs of whatever they wait for,
# once a job, and a selection has as many inputs as there are shards.
rule list_kept_windows:
    """What a shard's job needs to know of a selection."""
    input:
        places.selection,
    output:
        places.kept,
    log:
        places.log("list_kept_windows", "selection"),
    benchmark:
        places.benchmark("list_kept_windows", "selection")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("select_windows"),
        runtime=needs.minutes("select_windows"),
    params:
        code=code_of("list_kept_windows"),
        prelude=prelude,
    shell:
        in_job("""
        python "$SCRIPTS"/list_kept_windows.py --selection {input:q} --kept {output:q} 2>&1 | tee {log:q}
        """)

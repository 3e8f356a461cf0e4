"""
Windows: spans over a document's tokens, with ids.

REQUIRED INPUTS: results/tokens/{corpus}/{tokenizer}/{shard}.parquet
    results/corpora/{corpus}/documents/{shard}.parquet
OUTPUTS: results/windows/{windowing}/{shard}.parquet
"""

windows = wiring.windows


rule assign_windows:
    """Spans of a shard's windows, with ids."""
    input:
        unpack(windows.inputs),
    output:
        update(places.windows),
    log:
        places.log("assign_windows", "windowing", "shard"),
    benchmark:
        places.benchmark("assign_windows", "windowing", "shard")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("assign_windows"),
        runtime=needs.minutes("assign_windows"),
    params:
        settings=as_json(windows.windowing_settings),
        id_prefix=windows.id_prefix,
        code=code_of("assign_windows"),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/assign_windows.py --settings {log:q}.settings.json \
            --documents {input.documents:q} --tokens {input.tokens:q} --model {input.model:q} \
            --id-prefix {params.id_prefix:q} --windows {output:q} 2>&1 | tee {log:q}
        """)

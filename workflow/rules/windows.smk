"""
Windows: spans over a document's tokens, with ids.

REQUIRED INPUTS: results/tokens/{corpus}/{tokenizer}/{shard}.parquet
    results/corpora/{corpus}/documents/{shard}.parquet
OUTPUTS: results/windows/{windowing}/{shard}.parquet
"""


rule assign_windows:
    input:
        unpack(layout.windowing_inputs),
    output:
        update(layout.windows),
    log:
        layout.log("assign_windows", "windowing", "shard"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("assign_windows"),
        runtime=needs.minutes("assign_windows"),
    params:
        settings=as_json(layout.windowing_settings),
        id_prefix=layout.id_prefix,
        code=code_digest("assign_windows"),
    shell:
        """
        python "$SCRIPTS"/assign_windows.py --settings {params.settings:q} \
            --documents {input.documents:q} --tokens {input.tokens:q} --model {input.model:q} \
            --id-prefix {params.id_prefix:q} --windows {output:q} 2>&1 | tee {log:q}
        """

"""
Scores of frozen models, a shard a job and a device a job, and their collection.

A score job keeps what its output file holds under the same settings, and adds what is missing.

REQUIRED INPUTS: results/models/{model}/, results/tokens/{corpus}/{tokenizer}/{shard}.parquet
    results/windows/{windowing}/{shard}.parquet
    results/corpora/{corpus}/documents/{shard}.parquet (a scorer with a tokenizer of its own)
OUTPUTS: results/scores/{windowing}/{scorer}/{shard}.parquet
    results/scores/{windowing}/{scorer}/index.parquet
    results/frozen_weights.done
"""


rule score_short:
    input:
        unpack(layout.scoring_inputs),
        windows=layout.windows,
        kept=layout.windows_to_score,
    output:
        update(layout.scores),
    log:
        layout.log("score_short", "windowing", "scorer", "shard"),
    wildcard_constraints:
        scorer=layout.names("scorers", kind="short_nll"),
        shard=r"\d{5}",
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=needs.memory_mb("score_short"),
        runtime=needs.minutes("score_short"),
    params:
        settings=as_json(layout.scorer_settings),
        version=stage_version("scoring.nll"),
    shell:
        """
        python -m longspan_workflow.running.claim_devices {resources.gpu} \
            python "$SCRIPTS"/score_short.py --settings {params.settings:q} --model {input.model:q} \
            --tokens {input.tokens:q} --windows {input.windows:q} --documents {input.documents:q} \
            --kept {input.kept:q} --scores {output:q} --threads {threads} 2>&1 | tee {log:q}
        """


rule score_attention:
    input:
        unpack(layout.scoring_inputs),
        windows=layout.windows,
    output:
        update(layout.scores),
    log:
        layout.log("score_attention", "windowing", "scorer", "shard"),
    wildcard_constraints:
        scorer=layout.names("scorers", kind="attention"),
        shard=r"\d{5}",
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=needs.memory_mb("score_attention"),
        runtime=needs.minutes("score_attention"),
    params:
        settings=as_json(layout.scorer_settings),
        version=stage_version("scoring.attention_statistics"),
    shell:
        """
        python -m longspan_workflow.running.claim_devices {resources.gpu} \
            python "$SCRIPTS"/score_attention.py --settings {params.settings:q} --model {input.model:q} \
            --tokens {input.tokens:q} --windows {input.windows:q} --documents {input.documents:q} \
            --scores {output:q} --threads {threads} 2>&1 | tee {log:q}
        """


rule collect_weights:
    input:
        windows=lambda wildcards: layout.all_windows(wildcards.windowing),
        scores=lambda wildcards: layout.all_scores(
            wildcards.windowing, wildcards.scorer
        ),
        kept=layout.windows_to_score,
    output:
        layout.score_index,
    log:
        layout.log("collect_weights", "windowing", "scorer"),
    wildcard_constraints:
        scorer=layout.names("scorers", kind="short_nll"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("collect_weights"),
        runtime=needs.minutes("collect_weights"),
    params:
        windows=lambda wildcards, input: str(Path(input.windows[0]).parent),
        scores=lambda wildcards, input: str(Path(input.scores[0]).parent),
        shards=lambda wildcards: layout.shard_count(wildcards.windowing),
        code=code_digest("collect_weights"),
    shell:
        """
        python "$SCRIPTS"/collect_weights.py --windows {params.windows:q} \
            --scores {params.scores:q} --shards {params.shards} --kept {input.kept:q} \
            --index {output:q} 2>&1 | tee {log:q}
        """


rule record_frozen_weights:
    input:
        layout.score_indexes(),
    output:
        layout.frozen_weights,
    log:
        layout.log("record_frozen_weights"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        code=code_digest("record_frozen_weights"),
    shell:
        """
        python "$SCRIPTS"/record_frozen_weights.py --indexes {input:q} --done {output:q} \
            2>&1 | tee {log:q}
        """

"""
Scores of frozen models, a shard a job and a device a job, and their collection.

A score job keeps what its output file holds under the same settings, and adds what is missing. Each kind of scorer
has a rule of its own, which it names: score_short, score_attention.

REQUIRED INPUTS: results/models/{model}/, results/tokens/{corpus}/{tokenizer}/{shard}.parquet
    results/windows/{windowing}/{shard}.parquet
    results/corpora/{corpus}/documents/{shard}.parquet (a scorer with a tokenizer of its own)
OUTPUTS: results/scores/{windowing}/{scorer}/{shard}.parquet
    results/scores/{windowing}/{scorer}/index.parquet
    results/frozen_weights.done
"""

scores = wiring.scores

for KIND in SCORER_KINDS:

    rule:
        name:
            KIND.rule
        input:
            unpack(scores.inputs),
            windows=places.windows,
            kept=scores.kept,
        output:
            update(places.scores),
        log:
            places.log(KIND.rule, "windowing", "scorer", "shard"),
        benchmark:
            places.benchmark(KIND.rule, "windowing", "scorer", "shard")
        wildcard_constraints:
            scorer=alternatives(
                name
                for name, scorer in settings.scorers.items()
                if scorer.kind == KIND.name
            ),
            shard=r"\d{5}",
        conda:
            "../../envs/gpu.yaml"
        threads: 8
        resources:
            gpu=1,
            mem_mb=needs.memory_mb(KIND.rule),
            runtime=needs.minutes(KIND.rule),
        params:
            settings=as_json(scores.scorer_settings),
            kind=KIND.name,
            version=stage_version(KIND.stage),
            prelude=prelude,
        shell:
            in_job("""
            printf %s {params.settings:q} > {log:q}.settings.json
            python -m longspan_workflow.running.claim_devices {resources.gpu} \
                python "$SCRIPTS"/score_windows.py --kind {params.kind} --settings {log:q}.settings.json \
                --model {input.model:q} --tokens {input.tokens:q} --windows {input.windows:q} \
                --documents {input.documents:q} --kept {input.kept:q} --scores {output:q} --threads {threads} \
                2>&1 | tee {log:q}
            """)


rule collect_weights:
    """The index of a store, if each window's score is there exactly once."""
    input:
        windows=scores.all_windows,
        scores=scores.all_scores,
        kept=scores.kept,
    output:
        places.score_index,
    log:
        places.log("collect_weights", "windowing", "scorer"),
    benchmark:
        places.benchmark("collect_weights", "windowing", "scorer")
    wildcard_constraints:
        scorer=alternatives(
            name
            for name, scorer in settings.scorers.items()
            if scorer.kind == "short_nll"
        ),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("collect_weights"),
        runtime=needs.minutes("collect_weights"),
    params:
        windows=lambda wildcards, input: str(Path(input.windows[0]).parent),
        scores=lambda wildcards, input: str(Path(input.scores[0]).parent),
        shards=scores.shard_count,
        code=code_of("collect_weights"),
        prelude=prelude,
    shell:
        in_job("""
        python "$SCRIPTS"/collect_weights.py --windows {params.windows:q} \
            --scores {params.scores:q} --shards {params.shards} --kept {input.kept:q} \
            --index {output:q} 2>&1 | tee {log:q}
        """)


rule record_frozen_weights:
    """Counts and digests of all frozen stores that runs and exports need."""
    input:
        scores.indexes(),
    output:
        places.frozen_weights,
    log:
        places.log("record_frozen_weights"),
    benchmark:
        places.benchmark("record_frozen_weights")
    conda:
        "../../envs/cpu.yaml"
    params:
        code=code_of("record_frozen_weights"),
        prelude=prelude,
    shell:
        in_job("""
        python "$SCRIPTS"/record_frozen_weights.py --indexes {input:q} --done {output:q} \
            2>&1 | tee {log:q}
        """)

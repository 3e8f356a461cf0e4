"""
Texts: fetched, planned into shards, read, tokenized.

REQUIRED INPUTS: the sources of a corpus (settings); local files; a model's tokenizer
OUTPUTS: downloads/texts/{archive}
    results/corpora/{corpus}/plan.json, plan/{shard}.json
    results/corpora/{corpus}/documents/{shard}.parquet, dropped/{shard}.parquet
    results/tokens/{corpus}/{tokenizer}/{shard}.parquet
"""

texts = wiring.texts


rule download_texts:
    """An archive of texts, checked against its sha256; one that is there is kept."""
    input:
        revisions=ancient(texts.revisions),
    output:
        update(places.text_archive),
    log:
        places.log("download_texts", "archive"),
    benchmark:
        places.benchmark("download_texts", "archive")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(texts.archive_settings),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        with_hub_token python "$SCRIPTS"/download_texts.py --settings {log:q}.settings.json \
            --revisions {input.revisions:q} --archive {output:q} 2>&1 | tee {log:q}
        """)


# Snakemake makes the jobs behind a checkpoint twice, and looks through all jobs twice for what has changed. While
# planning anew would change nothing, an ordinary rule does the same; so it does in a dry run of a new corpus, all of
# whose shards are new. A job on another node, which is told what to do, need not look at the raw files for that.
IS_PLANNED = not workflow.is_main_process or texts.is_planned(
    or_new=workflow.output_settings.dryrun
)


checkpoint plan_shards:
    """Which documents are in which shard; what was planned before stays where it is."""
    input:
        lambda wildcards: of_user(texts.local_files(wildcards)),
        texts.fetched_files,
    output:
        update(places.plan_index),
    log:
        places.log("plan_shards", "corpus"),
    benchmark:
        places.benchmark("plan_shards", "corpus")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("plan_shards"),
        runtime=needs.minutes("plan_shards"),
    params:
        settings=as_json(texts.planning),
        folder=lambda wildcards, output: str(Path(output[0]).with_suffix("")),
        code=code_of("plan_shards"),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/plan_shards.py --settings {log:q}.settings.json \
            --plan-folder {params.folder:q} --index {output:q} 2>&1 | tee {log:q}
        """)


rules.plan_shards.rule.is_checkpoint = not IS_PLANNED


rule index_references:
    """N-grams of words of the held-out works and of further files, for documents to be compared with."""
    input:
        lambda wildcards: of_user(texts.reference_files(wildcards)),
        documents=places.documents.replace("{shard}", "held_out"),
    output:
        places.reference_ngrams,
    log:
        places.log("index_references", "corpus"),
    benchmark:
        places.benchmark("index_references", "corpus")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(texts.reference_settings),
        code=code_of("index_references"),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/index_references.py --settings {log:q}.settings.json \
            --documents {input.documents:q} --ngrams {output:q} 2>&1 | tee {log:q}
        """)


rule read_documents:
    """The texts of a shard, and what is left out and why."""
    input:
        references=texts.references,
        # A new plan alone makes no shard run; a shard's own part of it does, by its digest.
        index=ancient(
            places.plan_index
            if IS_PLANNED
            else lambda wildcards: checkpoints.plan_shards.get(
                corpus=wildcards.corpus
            ).output[0]
        ),
    output:
        documents=update(places.documents),
        dropped=update(places.dropped),
    log:
        places.log("read_documents", "corpus", "shard"),
    benchmark:
        places.benchmark("read_documents", "corpus", "shard")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("read_documents"),
        runtime=needs.minutes("read_documents"),
    params:
        settings=as_json(texts.reading_settings),
        plan=lambda wildcards: places.here(
            places.plan.format(corpus=wildcards.corpus, shard=wildcards.shard)
        ),
        plan_digest=texts.plan_digest,
        code=code_of("read_documents"),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/read_documents.py --settings {log:q}.settings.json --plan {params.plan:q} \
            --references {input.references:q} --documents {output.documents:q} --dropped {output.dropped:q} 2>&1 | tee {log:q}
        """)


rule tokenize_documents:
    """Token ids of a shard's documents, and the character at which each token begins."""
    input:
        documents=places.documents,
        model=places.model.replace("{model}", "{tokenizer}"),
    output:
        update(places.tokens),
    log:
        places.log("tokenize_documents", "corpus", "tokenizer", "shard"),
    benchmark:
        places.benchmark("tokenize_documents", "corpus", "tokenizer", "shard")
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=needs.memory_mb("tokenize_documents"),
        runtime=needs.minutes("tokenize_documents"),
    params:
        code=code_of("tokenize_documents"),
        prelude=prelude,
    shell:
        in_job("""
        RAYON_NUM_THREADS={threads} python "$SCRIPTS"/tokenize_documents.py --documents {input.documents:q} \
            --model {input.model:q} --tokens {output:q} 2>&1 | tee {log:q}
        """)

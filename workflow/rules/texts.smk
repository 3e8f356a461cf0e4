"""
Texts: fetched, planned into shards, read, tokenized.

REQUIRED INPUTS: the sources of a corpus (settings); local files; a model's tokenizer
OUTPUTS: downloads/texts/{archive}
    results/corpora/{corpus}/plan.json, plan/{shard}.json
    results/corpora/{corpus}/documents/{shard}.parquet, dropped/{shard}.parquet
    results/tokens/{corpus}/{tokenizer}/{shard}.parquet
"""


rule download_texts:
    input:
        revisions=ancient(layout.text_revisions),
    output:
        # A pinned archive that is there is checked and kept.
        update(layout.text_archive),
    log:
        layout.log("download_texts", "archive"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=as_json(layout.archive_settings),
    shell:
        """
        HF_TOKEN="$hub_token" python "$SCRIPTS"/download_texts.py --settings {params.settings:q} \
            --revisions {input.revisions:q} --archive {output:q} 2>&1 | tee {log:q}
        """


checkpoint plan_shards:
    input:
        lambda wildcards: layout.raw_files(wildcards.corpus),
    output:
        # What a plan assigned before stays where it is.
        update(layout.plan_index),
    log:
        layout.log("plan_shards", "corpus"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("plan_shards"),
        runtime=needs.minutes("plan_shards"),
    params:
        settings=as_json(lambda wildcards: layout.plan_settings(wildcards.corpus)),
        folder=str(Path(layout.plan).parent),
        code=code_digest("plan_shards"),
    shell:
        """
        python "$SCRIPTS"/plan_shards.py --settings {params.settings:q} \
            --plan-folder {params.folder:q} --index {output:q} 2>&1 | tee {log:q}
        """


# Snakemake makes the jobs behind a checkpoint twice, and looks through all jobs twice for what has changed. While
# planning anew would change nothing, an ordinary rule does the same; so it does in a dry run of a new corpus, all of
# whose shards are new. A job on another node, which is told what to do, need not look at the raw files for that.
IS_PLANNED = not workflow.is_main_process or layout.is_planned(
    or_new=workflow.output_settings.dryrun
)
workflow.get_rule("plan_shards").is_checkpoint = not IS_PLANNED


rule index_references:
    input:
        documents=layout.documents.replace("{shard}", "held_out"),
        files=layout.reference_files,
    output:
        layout.reference_ngrams,
    log:
        layout.log("index_references", "corpus"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=as_json(layout.reference_settings),
        code=code_digest("index_references"),
    shell:
        """
        python "$SCRIPTS"/index_references.py --settings {params.settings:q} \
            --documents {input.documents:q} --ngrams {output:q} 2>&1 | tee {log:q}
        """


rule read_documents:
    input:
        references=layout.reading_references,
        # A new plan alone makes no shard run; a shard's own part of it does, by its digest.
        index=ancient(
            layout.plan_index
            if IS_PLANNED
            else lambda wildcards: checkpoints.plan_shards.get(
                corpus=wildcards.corpus
            ).output[0]
        ),
    output:
        documents=update(layout.documents),
        dropped=update(layout.dropped),
    log:
        layout.log("read_documents", "corpus", "shard"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("read_documents"),
        runtime=needs.minutes("read_documents"),
    params:
        settings=as_json(layout.reading_settings),
        plan=layout.plan,
        plan_digest=layout.plan_digest,
        code=code_digest("read_documents"),
    shell:
        """
        python "$SCRIPTS"/read_documents.py --settings {params.settings:q} --plan {params.plan:q} \
            --references {input.references:q} --documents {output.documents:q} --dropped {output.dropped:q} 2>&1 | tee {log:q}
        """


rule tokenize_documents:
    input:
        documents=layout.documents,
        model=layout.model_of("{tokenizer}"),
    output:
        update(layout.tokens),
    log:
        layout.log("tokenize_documents", "corpus", "tokenizer", "shard"),
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=needs.memory_mb("tokenize_documents"),
        runtime=needs.minutes("tokenize_documents"),
    params:
        code=code_digest("tokenize_documents"),
    shell:
        """
        RAYON_NUM_THREADS={threads} python "$SCRIPTS"/tokenize_documents.py --documents {input.documents:q} \
            --model {input.model:q} --tokens {output:q} 2>&1 | tee {log:q}
        """

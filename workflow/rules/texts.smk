"""
Texts: fetched, planned into shards, read, tokenized.

REQUIRED INPUTS: the sources of a corpus (settings); local files; a model's tokenizer
OUTPUTS: downloads/texts/{archive}
    results/corpora/{corpus}/plan/{shard}.json
    results/corpora/{corpus}/documents/{shard}.parquet, dropped/{shard}.parquet
    results/tokens/{corpus}/{tokenizer}/{shard}.parquet
"""


rule download_texts:
    output:
        # A pinned archive that is there is checked and kept.
        update(layout.text_archive),
    log:
        layout.log("download_texts", "archive"),
    benchmark:
        layout.benchmark("download_texts", "archive")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=60,
    params:
        settings=as_json(layout.archive_settings),
    shell:
        """
        python "$SCRIPTS"/download_texts.py --settings {params.settings:q} \
            --archive {output:q} 2>&1 | tee {log:q}
        """


for corpus in layout.settings["corpora"]:

    # One rule for each corpus, because it has as many outputs as the corpus has shards.
    rule:
        name:
            f"plan_shards_{corpus}"
        input:
            layout.raw_files(corpus),
        output:
            # What a plan assigned before stays where it is.
            update(layout.plans(corpus)),
        log:
            layout.log("plan_shards", "corpus").format(corpus=corpus),
        benchmark:
            layout.benchmark("plan_shards", "corpus").format(corpus=corpus)
        conda:
            "../../envs/cpu.yaml"
        resources:
            mem_mb=lambda wildcards, attempt: 4000 * attempt,
            runtime=60,
        params:
            settings=as_json(layout.plan_settings(corpus)),
            folder=lambda wildcards, output: str(Path(output[0]).parent),
            code=code_digest("plan_shards"),
        shell:
            """
            python "$SCRIPTS"/plan_shards.py --settings {params.settings:q} \
                --plan-folder {params.folder:q} 2>&1 | tee {log:q}
            """


rule read_documents:
    input:
        plan=layout.plan,
    output:
        documents=update(layout.documents),
        dropped=update(layout.dropped),
    log:
        layout.log("read_documents", "corpus", "shard"),
    benchmark:
        layout.benchmark("read_documents", "corpus", "shard")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    params:
        settings=as_json(layout.reading_settings),
        code=code_digest("read_documents"),
    shell:
        """
        python "$SCRIPTS"/read_documents.py --settings {params.settings:q} --plan {input.plan:q} \
            --documents {output.documents:q} --dropped {output.dropped:q} 2>&1 | tee {log:q}
        """


rule tokenize_documents:
    input:
        documents=layout.documents,
        model=layout.model_of("{tokenizer}"),
    output:
        update(layout.tokens),
    log:
        layout.log("tokenize_documents", "corpus", "tokenizer", "shard"),
    benchmark:
        layout.benchmark("tokenize_documents", "corpus", "tokenizer", "shard")
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=120,
    params:
        code=code_digest("tokenize_documents"),
    shell:
        """
        RAYON_NUM_THREADS={threads} python "$SCRIPTS"/tokenize_documents.py --documents {input.documents:q} \
            --model {input.model:q} --tokens {output:q} 2>&1 | tee {log:q}
        """

"""
Models in Hugging Face form.

REQUIRED INPUTS: a model's source (settings), or the files of a local folder
OUTPUTS: downloads/revisions.json
    results/models/{model}/, with longspan.json as its manifest
"""

models = wiring.models


rule download:
    """Everything that needs a network, and nothing else."""
    input:
        models.downloads(),


rule pin_revisions:
    """The hub's commits, after a check of access; a revision keeps the commit that it was at first."""
    output:
        update(places.revisions),
    log:
        places.log("pin_revisions"),
    benchmark:
        places.benchmark("pin_revisions")
    priority: 1
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json({"repositories": models.repositories()}),
        code=code_of("pin_revisions"),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        with_hub_token python "$SCRIPTS"/pin_revisions.py --settings {log:q}.settings.json --revisions {output:q} \
            2>&1 | tee {log:q}
        """)


rule download_model:
    """A model as a Hugging Face folder; a GGUF file is converted once."""
    input:
        lambda wildcards: of_user(models.files(wildcards)),
        revisions=ancient(models.revisions),
    output:
        places.model,
    log:
        places.log("download_model", "model"),
    benchmark:
        places.benchmark("download_model", "model")
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    params:
        settings=as_json(models.settings),
        archives=places.here(places.model_archives),
        code=code_of("download_model"),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        with_hub_token python "$SCRIPTS"/download_model.py --settings {log:q}.settings.json \
            --archives {params.archives:q} --revisions {input.revisions:q} --manifest {output:q} 2>&1 | tee {log:q}
        """)

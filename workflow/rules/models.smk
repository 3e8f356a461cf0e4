"""
Models in Hugging Face form.

REQUIRED INPUTS: a model's source (settings), or the files of a local folder
OUTPUTS: downloads/revisions.json
    results/models/{model}/, with longspan.json as its manifest
"""


# Everything that needs a network, and nothing else.
rule download:
    input:
        layout.downloads(),


rule pin_revisions:
    output:
        # A revision keeps the commit that it was at first.
        update(layout.revisions),
    log:
        layout.log("pin_revisions"),
    priority: 1
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        settings=as_json({"repositories": layout.hub_repositories()}),
        code=code_digest("pin_revisions"),
    shell:
        """
        HF_TOKEN="$hub_token" python "$SCRIPTS"/pin_revisions.py --settings {params.settings:q} --revisions {output:q} \
            2>&1 | tee {log:q}
        """


rule download_model:
    input:
        layout.model_files,
        revisions=ancient(layout.model_revisions),
    output:
        layout.model,
    log:
        layout.log("download_model", "model"),
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=as_json(layout.model_settings),
        archives=layout.model_archives,
        code=code_digest("download_model"),
    shell:
        """
        HF_TOKEN="$hub_token" python "$SCRIPTS"/download_model.py --settings {params.settings:q} \
            --archives {params.archives:q} --revisions {input.revisions:q} --manifest {output:q} 2>&1 | tee {log:q}
        """

"""
Models in Hugging Face form.

REQUIRED INPUTS: a model's source (settings), or the files of a local folder
OUTPUTS: results/models/{model}/, with longspan.json as its manifest
"""


rule download_model:
    input:
        layout.model_files,
    output:
        layout.model,
    log:
        layout.log("download_model", "model"),
    benchmark:
        layout.benchmark("download_model", "model")
    conda:
        "../../envs/cpu.yaml"
    threads: 2
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=60,
    params:
        settings=as_json(layout.model_settings),
        archives=layout.model_archives,
        code=code_digest("download_model"),
    shell:
        """
        python "$SCRIPTS"/download_model.py --settings {params.settings:q} \
            --archives {params.archives:q} --manifest {output:q} 2>&1 | tee {log:q}
        """

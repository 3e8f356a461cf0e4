"""
Evaluations of base and trained models on what was held out.

REQUIRED INPUTS: results/models/{model}/ or results/runs/{run}/{loss}/seed{seed}/model/
    results/tokens/{corpus}/{tokenizer}/held_out.parquet, results/windows/{windowing}/held_out.parquet
    results/corpora/{corpus}/documents/held_out.parquet, downloads/texts/{archive}
OUTPUTS: results/tasks/{evaluation}/{tokenizer}/{length}.parquet
    results/tasks/{evaluation}/{windowing}.parquet
    results/evaluations/{run}/base/{evaluation}.parquet
    results/evaluations/{run}/{loss}/seed{seed}/{evaluation}.parquet
"""

evaluations = wiring.evaluations


rule make_task:
    """A task's prompts of one length, which all models with their tokenizer answer."""
    input:
        model=places.model.replace("{model}", "{tokenizer}"),
        documents=evaluations.documents,
        archives=evaluations.archives,
    output:
        places.task_inputs,
    log:
        places.log("make_task", "evaluation", "tokenizer", "length"),
    benchmark:
        places.benchmark("make_task", "evaluation", "tokenizer", "length")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("make_task"),
        runtime=needs.minutes("make_task"),
    params:
        settings=as_json(evaluations.making_settings),
        task=evaluations.task,
        code=lambda wildcards: code_of_task("make_task", wildcards.evaluation),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/make_task.py --task {params.task} --settings {log:q}.settings.json \
            --length {wildcards.length} --model {input.model:q} --documents {input.documents:q} \
            --archives {input.archives:q} --inputs {output:q} 2>&1 | tee {log:q}
        """)


rule prepare_task:
    """What a fixed evaluator says of the held-out windows, once for all models."""
    input:
        unpack(evaluations.preparation_tables),
        model=evaluations.evaluator,
    output:
        places.prepared_task,
    log:
        places.log("prepare_task", "evaluation", "windowing"),
    benchmark:
        places.benchmark("prepare_task", "evaluation", "windowing")
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=needs.memory_mb("prepare_task"),
        runtime=needs.minutes("prepare_task"),
    params:
        settings=as_json(evaluations.preparation_settings),
        task=evaluations.task,
        code=lambda wildcards: code_of_task("prepare_task", wildcards.evaluation),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python -m longspan_workflow.running.claim_devices {resources.gpu} \
            python "$SCRIPTS"/prepare_task.py --task {params.task} --settings {log:q}.settings.json \
            --model {input.model:q} --tokens {input.tokens:q} --windows {input.windows:q} \
            --documents {input.documents:q} --prepared {output:q} --threads {threads} 2>&1 | tee {log:q}
        """)


rule evaluate:
    """A model's measures by one task, base or trained."""
    input:
        lambda wildcards: of_user(evaluations.files(wildcards)),
        model=evaluations.model,
        tokens=evaluations.tokens,
        windows=evaluations.windows,
        inputs=evaluations.inputs,
        prepared=evaluations.prepared,
    output:
        places.evaluation,
    log:
        places.log("evaluate", "run", "trained", "evaluation"),
    benchmark:
        places.benchmark("evaluate", "run", "trained", "evaluation")
    wildcard_constraints:
        trained=r"base|[^/]+/seed\d+",
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=evaluations.devices,
        mem_mb=needs.memory_mb("evaluate"),
        runtime=needs.minutes("evaluate"),
    params:
        settings=as_json(evaluations.settings),
        task=evaluations.task,
        launcher=lambda wildcards: training_launcher(evaluations.devices(wildcards), 1),
        prepared=evaluations.prepared_arguments,
        code=lambda wildcards: code_of_task("evaluate", wildcards.evaluation),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python -m longspan_workflow.running.claim_devices {resources.gpu} \
            {params.launcher} "$SCRIPTS"/evaluate.py --task {params.task} --settings {log:q}.settings.json \
            --model {input.model:q} --tokens {input.tokens:q} --windows {input.windows:q} \
            --inputs {input.inputs:q} --evaluation {output:q} {params.prepared:q} --threads {threads} 2>&1 | tee {log:q}
        """)

"""
Trainings under a weighted loss, and held-out evaluations of base and trained models.

REQUIRED INPUTS: results/models/{model}/, results/windows/{windowing}/{shard}.parquet
    results/selections/{selection}.kept.parquet, results/scores/{windowing}/{scorer}/index.parquet
OUTPUTS: results/runs/{run}/{loss}/seed{seed}/model/, metrics.parquet, speed.parquet, guard.parquet,
    settings.json
    results/evaluations/{run}/base.parquet
    results/evaluations/{run}/{loss}/seed{seed}.parquet
"""


rule train:
    input:
        unpack(runs.scores),
        unpack(runs.held_out),
        short=lambda wildcards: [
            path for tables in runs.short_tokens(wildcards).values() for path in tables
        ],
        model=runs.model,
        tokens=lambda wildcards: layout.all_tokens(runs.windowing(wildcards)),
        windows=lambda wildcards: layout.all_windows(runs.windowing(wildcards)),
        kept=runs.kept,
    output:
        # A training whose settings and data turn out to be the same is kept; its checkpoints are undeclared.
        model=update(f"{runs.run}/model/longspan.json"),
        metrics=update(f"{runs.run}/metrics.parquet"),
        speed=update(f"{runs.run}/speed.parquet"),
        guard=update(f"{runs.run}/guard.parquet"),
        settings=update(f"{runs.run}/settings.json"),
    log:
        layout.log("train", "run", "loss", "seed"),
    # A retry goes on from the last checkpoint, also from the one that a stopped training saves.
    retries: 2
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=lambda wildcards: runs.devices(wildcards) * runs.nodes(wildcards),
        nodes=runs.nodes,
        # Over nodes the shell itself starts one task on each by srun.
        mpi=lambda wildcards: "srun" if runs.nodes(wildcards) > 1 else None,
        tasks=lambda wildcards: (
            runs.nodes(wildcards) if runs.nodes(wildcards) > 1 else None
        ),
        tasks_per_gpu=lambda wildcards: (0 if runs.nodes(wildcards) > 1 else None),
        mem_mb=needs.memory_mb("train"),
        runtime=needs.minutes("train"),
    params:
        settings=as_json(runs.settings),
        execution=as_json(runs.execution),
        card=as_json(lambda wildcards: training_card(layout.settings, wildcards)),
        launcher=lambda wildcards: training_launcher(
            runs.devices(wildcards), runs.nodes(wildcards)
        ),
        tokens=lambda wildcards, input: str(Path(input.tokens[0]).parent),
        windows=lambda wildcards, input: str(Path(input.windows[0]).parent),
        short=runs.short_arguments,
        guard=lambda wildcards, input: (
            [
                *("--guard", as_json(runs.guard(wildcards))),
                *("--held-out-tokens", *input.held_out_tokens),
                *("--held-out-windows", *input.held_out_windows),
            ]
            if input.held_out_tokens
            else []
        ),
        shards=lambda wildcards: layout.shard_count(runs.windowing(wildcards)),
        folder=lambda wildcards, output: str(Path(output.settings).parent),
        version=stage_version("training.loop"),
    shell:
        # The signals by which a scheduler announces the end are for the training alone, which saves its state:
        # this shell and tee stay until it has ended. torchrun hands them on and waits so many seconds.
        """
        trap : TERM
        trap '' USR1
        export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
        export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${{TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-300}}"
        python -m longspan_workflow.running.claim_devices {resources.gpu} \
            {params.launcher} "$SCRIPTS"/train.py --settings {params.settings:q} \
            --execution {params.execution:q} --model {input.model:q} --tokens {params.tokens:q} \
            --windows {params.windows:q} --shards {params.shards} --kept {input.kept:q} --index {input.index:q} \
            {params.guard:q} {params.short:q} --run-folder {params.folder:q} --card {params.card:q} --threads {threads} 2>&1 | (
            trap '' TERM
            tee {log:q}
        )
        """


rule evaluate:
    input:
        model=runs.evaluated_model,
        tokens=lambda wildcards: layout.tokens_of(runs.windowing(wildcards), "held_out"),
        windows=lambda wildcards: layout.windows.format(
            windowing=runs.windowing(wildcards), shard="held_out"
        ),
    output:
        runs.evaluation,
    log:
        layout.log("evaluate", "run", "trained"),
    wildcard_constraints:
        trained=r"base|[^/]+/seed\d+",
    conda:
        "../../envs/gpu.yaml"
    threads: 8
    resources:
        gpu=1,
        mem_mb=needs.memory_mb("evaluate"),
        runtime=needs.minutes("evaluate"),
    params:
        settings=as_json(runs.evaluation_settings),
        code=code_digest("evaluate"),
    shell:
        """
        python -m longspan_workflow.running.claim_devices {resources.gpu} \
            python "$SCRIPTS"/evaluate.py --settings {params.settings:q} --model {input.model:q} \
            --tokens {input.tokens:q} --windows {input.windows:q} --evaluation {output:q} \
            --threads {threads} 2>&1 | tee {log:q}
        """

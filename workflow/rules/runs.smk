"""
Trainings under a weighted loss.

REQUIRED INPUTS: results/models/{model}/, results/windows/{windowing}/{shard}.parquet
    results/selections/{selection}.kept.parquet, results/scores/{windowing}/{scorer}/index.parquet
OUTPUTS: results/runs/{run}/{loss}/seed{seed}/model/, metrics.parquet, speed.parquet, guard.parquet,
    exposure.parquet, settings.json
"""

runs = wiring.runs


rule train:
    """A model trained on the kept windows; one whose settings and data turn out to be the same is kept."""
    input:
        unpack(runs.scores),
        unpack(runs.held_out),
        short=runs.short_tokens,
        model=runs.model,
        tokens=runs.tokens,
        windows=runs.windows,
        kept=runs.kept,
    output:
        # Checkpoints are undeclared.
        model=update(f"{places.run}/model/longspan.json"),
        metrics=update(f"{places.run}/metrics.parquet"),
        speed=update(f"{places.run}/speed.parquet"),
        guard=update(f"{places.run}/guard.parquet"),
        exposure=update(f"{places.run}/exposure.parquet"),
        settings=update(f"{places.run}/settings.json"),
    log:
        places.log("train", "run", "loss", "seed"),
    benchmark:
        places.benchmark("train", "run", "loss", "seed")
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
        card=as_json(runs.card),
        launcher=lambda wildcards: training_launcher(
            runs.devices(wildcards), runs.nodes(wildcards)
        ),
        tokens=lambda wildcards, input: str(Path(input.tokens[0]).parent),
        windows=lambda wildcards, input: str(Path(input.windows[0]).parent),
        short=runs.short_arguments,
        guard=runs.guard_arguments,
        shards=runs.shard_count,
        folder=lambda wildcards, output: str(Path(output.settings).parent),
        version=stage_version("training.loop"),
        prelude=prelude,
    shell:
        # The signals by which a scheduler announces the end are for the training alone, which saves its state:
        # this shell and tee stay until it has ended. torchrun hands them on and waits so many seconds.
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        printf %s {params.execution:q} > {log:q}.execution.json
        printf %s {params.card:q} > {log:q}.card.json
        trap : TERM
        trap '' USR1
        export PET_SIGNALS_TO_HANDLE=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1
        export TORCH_ELASTIC_SHUTDOWN_TIMEOUT="${{TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-300}}"
        python -m longspan_workflow.running.claim_devices {resources.gpu} \
            {params.launcher} "$SCRIPTS"/train.py --settings {log:q}.settings.json \
            --execution {log:q}.execution.json --model {input.model:q} --tokens {params.tokens:q} \
            --windows {params.windows:q} --shards {params.shards} --kept {input.kept:q} --index {input.index:q} \
            {params.guard:q} {params.short:q} --run-folder {params.folder:q} --card {log:q}.card.json --threads {threads} 2>&1 | (
            trap '' TERM
            tee {log:q}
        )
        """)

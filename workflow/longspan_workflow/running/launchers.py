"""What starts the processes of one job."""


def training_launcher(devices: int, nodes: int) -> str:
    """The shell words before a training's or an evaluation's script: plain python, or torchrun on every node.

    Args:
        devices: processes on each node.
        nodes: nodes of the job.
    """
    if devices * nodes == 1:
        return "python"
    torchrun = f"python -m torch.distributed.run --nproc-per-node {devices}"
    if nodes == 1:
        return f"{torchrun} --standalone"
    # Snakemake's executor keeps of SLURM's variables the job's number alone; SLURM knows the rest.
    nodes_of_job = '"$(squeue --noheader --job "$SLURM_JOB_ID" --format %N)"'
    first = f'"$(scontrol show hostnames {nodes_of_job} | head -n 1)"'
    address = f"$(scontrol show node {first} | grep -o 'NodeAddr=[^ ]*' | cut -d = -f 2)"
    # Two jobs may have one first node.
    port = "$((20000 + SLURM_JOB_ID % 20000))"
    return (
        f"srun --nodes {nodes} --ntasks {nodes} --ntasks-per-node 1 {torchrun} --nnodes {nodes} "
        f'--rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "{address}:{port}"'
    )

"""What starts the processes of one job."""


def training_launcher(devices: int, nodes: int) -> str:
    """The shell words before a training's script: plain python, or torchrun, on every node by srun.

    Args:
        devices: processes on each node.
        nodes: nodes of the job.
    """
    if devices * nodes == 1:
        return "python"
    torchrun = f"python -m torch.distributed.run --nproc-per-node {devices}"
    if nodes == 1:
        return f"{torchrun} --standalone"
    first = '"$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)"'
    return (
        f"srun --nodes {nodes} --ntasks {nodes} --ntasks-per-node 1 {torchrun} --nnodes {nodes} "
        f'--rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint {first}:29500'
    )

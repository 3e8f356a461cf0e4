"""What the Snakefile knows before a job runs; jobs import nothing of it."""

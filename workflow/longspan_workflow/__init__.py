"""What the Snakefile knows before a job runs: settings, paths and digests. Imports no torch."""

"""The library: arrays, files and models. It knows neither Snakemake nor the settings' file."""

"""
Exports: windows for others, as Parquet or JSON lines with a data card.

REQUIRED INPUTS: results/corpora/{corpus}/documents/{shard}.parquet
    results/tokens/{corpus}/{tokenizer}/{shard}.parquet, results/windows/{windowing}/{shard}.parquet
    results/selections/{selection}.kept.parquet, results/scores/{windowing}/{scorer}/index.parquet
    downloads/revisions.json, of sources and models of the hub
OUTPUTS: results/exports/{export}/data/{shard}.{ending}
    results/exports/{export}/manifests/{shard}.{ending}.json
    results/exports/{export}/README.md
    results/exports/{export}/published.json, by the target publish
"""

exports = wiring.exports


localrules:
    publish,
    publish_export,


rule export_windows:
    """A shard's windows for others, as Parquet or JSON lines."""
    input:
        unpack(exports.inputs),
    output:
        data=places.export_data,
        manifest=places.export_manifest,
    log:
        places.log("export_windows", "export", "shard", "ending"),
    benchmark:
        places.benchmark("export_windows", "export", "shard", "ending")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("export_windows"),
        runtime=needs.minutes("export_windows"),
    params:
        settings=as_json(exports.export_settings),
        code=lambda wildcards: code_of(
            "export_windows",
            *variant_files(exports.export_settings(wildcards)["loss"]),
        ),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/export_windows.py --settings {log:q}.settings.json \
            --documents {input.documents:q} --tokens {input.tokens:q} --windows {input.windows:q} \
            --shard {wildcards.shard} --kept {input.kept:q} --index {input.index:q} \
            --export {output.data:q} --manifest {output.manifest:q} 2>&1 | tee {log:q}
        """)


rule write_data_card:
    """Sources, licences, counts, settings and citations of an export."""
    input:
        data=exports.data_files,
        manifests=exports.manifests,
        # A commit that was pinned stays; others that come to the file make no card anew.
        revisions=ancient(exports.revisions),
    output:
        places.export_card,
    log:
        places.log("write_data_card", "export"),
    benchmark:
        places.benchmark("write_data_card", "export")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(exports.card_settings),
        manifests=exports.card_folder,
        shards=exports.shard_count,
        ending=exports.ending,
        code=code_of("write_data_card"),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/write_data_card.py --settings {log:q}.settings.json \
            --manifests {params.manifests:q} --shards {params.shards} --ending {params.ending} \
            --revisions {input.revisions:q} --card {output:q} 2>&1 | tee {log:q}
        """)


rule publish_export:
    """The export as a dataset of the hub; only by the target publish."""
    input:
        card=places.export_card,
        data=exports.data_files,
        manifests=exports.manifests,
    output:
        places.publication,
    log:
        places.log("publish_export", "export"),
    benchmark:
        places.benchmark("publish_export", "export")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(exports.publication_settings),
        folder=lambda wildcards, input: str(Path(input.card).parent),
        shards=exports.shard_count,
        ending=exports.ending,
        code=code_of("publish_export"),
        prelude=prelude,
    shell:
        # The token comes from the environment of Snakemake, on whose machine this runs.
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        with_hub_token python "$SCRIPTS"/publish_export.py --settings {log:q}.settings.json --folder {params.folder:q} \
            --shards {params.shards} --ending {params.ending} --record {output:q} 2>&1 | tee {log:q}
        """)


rule publish:
    """Every export that has a `repo`, as a dataset of the hub."""
    input:
        lambda wildcards: exports.publications(),

"""
The page: one file, readable without a network, of counts that each shard makes once.

REQUIRED INPUTS: everything above
OUTPUTS: results/aggregates/windows/{windowing}/{shard}.json, results/aggregates/selections/{selection}.json
    results/report.html
"""

from longspan.reporting.page.document import page_files

pages = wiring.pages


localrules:
    build_report,


rule aggregate_shard:
    """What a shard adds to the report: its texts, what was dropped of them, NLL and weights, counted."""
    input:
        unpack(pages.shard_inputs),
    output:
        places.shard_aggregate,
    log:
        places.log("aggregate_shard", "windowing", "shard"),
    benchmark:
        places.benchmark("aggregate_shard", "windowing", "shard")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("aggregate_shard"),
        runtime=needs.minutes("aggregate_shard"),
    params:
        settings=as_json(pages.shard_settings),
        scores=pages.shard_scores,
        code=lambda wildcards: code_of(
            "aggregate_shard",
            *(
                file
                for losses in pages.shard_settings(wildcards)["losses"].values()
                for block in losses.values()
                for file in variant_files(block)
            ),
        ),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/aggregate_shard.py --settings {log:q}.settings.json --shard {wildcards.shard} \
            --windows {input.windows:q} --documents {input.documents:q} --tokens {input.tokens:q} \
            --dropped {input.dropped:q} --scores {params.scores:q} --aggregate {output:q} 2>&1 | tee {log:q}
        """)


rule aggregate_selection:
    """What a selection adds to the report: scores, the method's own numbers, cuts, windows to look at."""
    input:
        unpack(pages.selection_inputs),
    output:
        places.selection_aggregate,
    log:
        places.log("aggregate_selection", "selection"),
    benchmark:
        places.benchmark("aggregate_selection", "selection")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=needs.memory_mb("select_windows"),
        runtime=needs.minutes("select_windows"),
    params:
        windows=lambda wildcards, input: str(Path(input.windows[0]).parent),
        scores=lambda wildcards, input: [
            str(Path(path).parent) for path in input.scores
        ][:1],
        shards=selections.shard_count,
        code=lambda wildcards: code_of(
            "aggregate_selection",
            SELECTION_METHODS.source_file(selections.method(wildcards)),
        ),
        prelude=prelude,
    shell:
        in_job("""
        python "$SCRIPTS"/aggregate_selection.py --selection {input.selection:q} --windows {params.windows:q} \
            --scores {params.scores:q} --shards {params.shards} --aggregate {output:q} 2>&1 | tee {log:q}
        """)


rule build_report:
    """The report: one page that answers whether it helped, what was kept, and lets windows be read."""
    input:
        **pages.page_inputs(),
        **pages.verdict_inputs(),
        settings=places.settings_record,
        summary=places.summary_table,
        funnel=places.funnel,
        costs=places.costs,
    output:
        places.page,
    log:
        places.log("build_report"),
    benchmark:
        places.benchmark("build_report")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(pages.page_settings()),
        code=code_of(
            "build_report",
            *page_files(),
            *map(EVALUATION_TASKS.source_file, EVALUATION_TASKS.names()),
            *map(LOSS_VARIANTS.source_file, LOSS_VARIANTS.names()),
        ),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/build_report.py --settings {log:q}.settings.json --record {input.settings:q} \
            --summary {input.summary:q} --funnel {input.funnel:q} --costs {input.costs:q} \
            --evaluation {input.evaluation:q} --markdown {input.markdown:q} --verdict {input.verdict:q} \
            --page {output:q} 2>&1 | tee {log:q}
        """)

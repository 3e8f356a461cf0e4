"""
Summary, figures and Snakemake's own report.

REQUIRED INPUTS: everything above
OUTPUTS: results/settings.yaml, results/summary.txt, results/summary.tsv, results/funnel.tsv
    results/evaluation.tsv, results/evaluation.md, results/verdict.txt
    results/figures/*.svg, results/costs.tsv, results/report-snakemake.html
"""

import os

reports = wiring.reports

# The heading of a whole report is that of the workflow which makes it.
if not IS_MODULE:

    report: "../report/workflow.rst"


localrules:
    estimate,
    record_settings,
    report,
    tabulate_costs,


rule estimate:
    """What a run will need, before anything ran; it runs whenever it is asked for."""
    log:
        places.log("estimate"),
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(settings.as_settings()),
        table=places.estimate,
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        with_hub_token python "$SCRIPTS"/estimate.py --settings {log:q}.settings.json \
            --table {params.table:q} 2>&1 | tee {log:q}
        """)


rule record_settings:
    """The settings with every default filled in."""
    output:
        places.settings_record,
    log:
        places.log("record_settings"),
    benchmark:
        places.benchmark("record_settings")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(settings.as_settings()),
        code=code_of("record_settings"),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/record_settings.py --settings {log:q}.settings.json --record {output:q} \
            2>&1 | tee {log:q}
        """)


rule summarize_results:
    """The short table at the end, and the funnel: what is left at each step, and why."""
    input:
        reports.summary_inputs(),
    output:
        text=places.summary,
        table=report(
            places.summary_table, category="Summary", caption="../report/summary.rst"
        ),
        funnel=report(places.funnel, category="Summary", caption="../report/funnel.rst"),
    log:
        places.log("summarize_results"),
    benchmark:
        places.benchmark("summarize_results")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(reports.summary_settings()),
        code=code_of(
            "summarize_results",
            *map(EVALUATION_TASKS.source_file, EVALUATION_TASKS.names()),
        ),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/summarize_results.py --settings {log:q}.settings.json \
            --text {output.text:q} --table {output.table:q} --funnel {output.funnel:q} \
            2>&1 | tee {log:q}
        """)


rule compare_models:
    """Means of all evaluations with intervals, differences to base models and controls, and the verdict."""
    input:
        evaluations.all(),
    output:
        table=report(
            places.evaluation_table,
            category="Evaluation",
            caption="../report/comparison.rst",
        ),
        markdown=places.evaluation_markdown,
        verdict=places.verdict,
    log:
        places.log("compare_models"),
    benchmark:
        places.benchmark("compare_models")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(reports.comparison_settings()),
        code=code_of(
            "compare_models",
            *map(EVALUATION_TASKS.source_file, EVALUATION_TASKS.names()),
        ),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/compare_models.py --settings {log:q}.settings.json --table {output.table:q} \
            --markdown {output.markdown:q} --verdict {output.verdict:q} 2>&1 | tee {log:q}
        """)


rule draw_figures:
    """Figures of selections, trainings and evaluations."""
    input:
        reports.figure_inputs(),
    output:
        [
            report(
                path,
                category="Figures",
                caption=f"../report/{name.partition('-')[0]}.rst",
            )
            for name, path in reports.figure_paths().items()
        ],
    log:
        places.log("draw_figures"),
    benchmark:
        places.benchmark("draw_figures")
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(reports.figure_settings()),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
        code=code_of(
            "draw_figures",
            *map(SELECTION_METHODS.source_file, SELECTION_METHODS.names()),
            *map(EVALUATION_TASKS.source_file, EVALUATION_TASKS.names()),
        ),
        prelude=prelude,
    shell:
        in_job("""
        printf %s {params.settings:q} > {log:q}.settings.json
        python "$SCRIPTS"/draw_figures.py --settings {log:q}.settings.json --folder {params.folder:q} \
            2>&1 | tee {log:q}
        """)


rule tabulate_costs:
    """What the jobs of each rule took."""
    input:
        # When these are there, all jobs have ended.
        places.summary_table,
        list(reports.figure_paths().values()),
        wiring.pages.page_inputs()["shards"],
        wiring.pages.page_inputs()["selections"],
    output:
        report(places.costs, category="Costs", caption="../report/costs.rst"),
    log:
        places.log("tabulate_costs"),
    benchmark:
        places.benchmark("tabulate_costs")
    conda:
        "../../envs/cpu.yaml"
    params:
        benchmarks=places.here(places.benchmarks),
        code=code_of("tabulate_costs"),
        prelude=prelude,
    shell:
        in_job("""
        python "$SCRIPTS"/tabulate_costs.py --benchmarks {params.benchmarks:q} --table {output:q} \
            2>&1 | tee {log:q}
        """)


rule report:
    """Snakemake's report of summary, funnel and figures."""
    input:
        settings=places.settings_record,
        table=places.summary_table,
        funnel=places.funnel,
        evaluation=[places.evaluation_table] if evaluations.all() else [],
        costs=places.costs,
        figures=list(reports.figure_paths().values()),
    output:
        places.report,
    log:
        places.log("report"),
    benchmark:
        places.benchmark("report")
    conda:
        "../../envs/cpu.yaml"
    params:
        snakefile=lambda wildcards: os.path.relpath(workflow.main_snakefile),
        prelude=prelude,
    shell:
        # The report is Snakemake's own. It reads what the jobs recorded, under the lock that this run holds.
        in_job("""
        python -m snakemake --snakefile {params.snakefile:q} --configfile {input.settings:q} \
            --nolock --report {output:q} {input.table:q} {input.funnel:q} {input.evaluation:q} {input.costs:q} {input.figures:q} 2>&1 | tee {log:q}
        """)

"""
Summary, figures and the HTML report.

REQUIRED INPUTS: everything above
OUTPUTS: results/settings.yaml, results/summary.txt, results/summary.tsv, results/funnel.tsv
    results/figures/*.svg, results/report.html
"""


report: "../report/workflow.rst"


localrules:
    estimate,
    record_settings,
    report,


# Before anything ran; it runs whenever it is asked for.
rule estimate:
    log:
        layout.log("estimate"),
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(layout.settings),
        table=reports.estimate,
    shell:
        """
        HF_TOKEN="$hub_token" python "$SCRIPTS"/estimate.py --settings {params.settings:q} \
            --table {params.table:q} 2>&1 | tee {log:q}
        """


rule record_settings:
    output:
        reports.settings_record,
    log:
        layout.log("record_settings"),
    conda:
        "../../envs/cpu.yaml"
    params:
        settings=as_json(layout.settings),
        code=code_digest("record_settings"),
    shell:
        """
        python "$SCRIPTS"/record_settings.py --settings {params.settings:q} --record {output:q} \
            2>&1 | tee {log:q}
        """


rule summarize_results:
    input:
        reports.summary_inputs(),
    output:
        text=reports.summary,
        table=report(
            reports.summary_table, category="Summary", caption="../report/summary.rst"
        ),
        funnel=report(
            reports.funnel, category="Summary", caption="../report/funnel.rst"
        ),
    log:
        layout.log("summarize_results"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=as_json(reports.summary_settings()),
        code=code_digest("summarize_results"),
    shell:
        """
        python "$SCRIPTS"/summarize_results.py --settings {params.settings:q} \
            --text {output.text:q} --table {output.table:q} --funnel {output.funnel:q} \
            2>&1 | tee {log:q}
        """


rule draw_figures:
    input:
        reports.figure_inputs(),
    output:
        [
            report(path, category="Figures", caption=f"../report/{name}.rst")
            for name, path in reports.figure_paths().items()
        ],
    log:
        layout.log("draw_figures"),
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        settings=as_json(reports.figure_settings()),
        folder=lambda wildcards, output: str(Path(output[0]).parent),
        code=code_digest("draw_figures"),
    shell:
        """
        python "$SCRIPTS"/draw_figures.py --settings {params.settings:q} --folder {params.folder:q} \
            2>&1 | tee {log:q}
        """


rule report:
    input:
        settings=reports.settings_record,
        table=reports.summary_table,
        funnel=reports.funnel,
        figures=list(reports.figure_paths().values()),
    output:
        reports.report,
    log:
        layout.log("report"),
    conda:
        "../../envs/cpu.yaml"
    params:
        snakefile=lambda wildcards: os.path.relpath(workflow.main_snakefile),
    shell:
        # The report is Snakemake's own. It reads what the jobs recorded, under the lock that this run holds.
        """
        python -m snakemake --snakefile {params.snakefile:q} --configfile {input.settings:q} \
            --nolock --report {output:q} {input.table:q} {input.funnel:q} {input.figures:q} 2>&1 | tee {log:q}
        """

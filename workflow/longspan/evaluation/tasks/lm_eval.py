"""Tasks of lm-evaluation-harness."""

import difflib
import functools
import importlib.metadata
import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import AfterValidator

from longspan.evaluation.task import EvaluationTask, Measure
from longspan.plugins.options import option, optional, unique
from longspan.store.contracts import Contract

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

VERSION = "0.4.13"
_FILES = ("*.yaml", "*.yml", "*.py", "*.json", "*.jsonl", "*.txt", "*.csv", "*.parquet")


class LMEval(EvaluationTask):
    """Tasks of lm-evaluation-harness (EleutherAI), by that package."""

    name: ClassVar[str] = "lm_eval"
    label: ClassVar[str] = "first metric of a task"
    measures: ClassVar[tuple[Measure, ...]] = (
        Measure("score", "first metric of a task, turned so that more is better", higher_is_better=True),
    )
    citations: ClassVar[tuple[str, ...]] = (
        """\
@misc{gao2024evalharness,
  title={The Language Model Evaluation Harness},
  author={Gao, Leo and Tow, Jonathan and Abbasi, Baber and Biderman, Stella and others},
  publisher={Zenodo},
  doi={10.5281/zenodo.12608602},
  year={2024}
}""",
    )
    reads: ClassVar[Literal["model"]] = "model"
    table: ClassVar[str] = "lm_eval"
    # A row of a sample, or with a null sample_id of all samples of a task or group, as the package has it.
    contract: ClassVar[Contract] = Contract(
        pa.schema(
            {
                "task": pa.string(),
                "version": pa.string(),
                "filter": pa.string(),
                "metric": pa.string(),
                "is_first": pa.bool_(),
                "higher_is_better": pa.bool_(),
                "sample_id": pa.string(),
                "value": pa.float64(),
                "weight": pa.float64(),
            }
        ),
        rule="evaluate",
    )

    tasks: Annotated[list[str], AfterValidator(unique)] = option(
        description="Names of its tasks, groups or tags.", min_length=1
    )
    task_folder: str | None = optional(
        "Folder of further tasks (YAML files, with what they read); one that has a built-in task's name "
        "replaces it."
    )
    data_folder: str | None = optional(
        "Folder that holds the tasks' data (a cache of Hugging Face's datasets); with it nothing is fetched."
    )
    num_fewshot: int | None = optional(
        "Examples before each question; the task's own number by default.", ge=0
    )
    limit: int | None = optional("First samples of each task that are taken; all by default.", ge=1)
    apply_chat_template: bool = option(False, "Put questions into the model's chat template.")
    batch_size: int = option(1, "Sequences in one forward pass.", ge=1)
    max_length: int | None = optional(
        "Most tokens of a prompt with its answer; the model's positions by default. One that is longer is "
        "refused, not cut.",
        ge=2,
    )
    guard: bool = option(
        False, "Whether a verdict tells of it only if it was lost: for knowledge and short context."
    )

    @property
    def is_guard(self):
        """As the settings say."""
        return self.guard

    @property
    def environment(self):
        """Where data lies, and that nothing is fetched."""
        if self.data_folder is None:
            return {}
        offline = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
        return offline | {"HF_DATASETS_CACHE": str(Path(self.data_folder).absolute())}

    @property
    def files(self):
        """Tasks of the user, and what lies beside them."""
        if self.task_folder is None:
            return []
        found = (path for pattern in _FILES for path in Path(self.task_folder).rglob(pattern))
        return sorted(str(path) for path in found)

    def check_window(self, window_tokens):
        """Refuse folders that are not there."""
        for key in ("task_folder", "data_folder"):
            folder = getattr(self, key)
            if folder is not None and not Path(folder).is_dir():
                raise ValueError(f"{key}: there is no folder {folder}; correct the path")

    def require_ready(self):
        """Refuse a package that is not there or is another version, tasks that it lacks, and missing data."""
        if importlib.util.find_spec("lm_eval") is None:
            raise ValueError(f"task lm_eval needs lm-eval=={VERSION}; run pip install 'longspan[lm-eval]'")
        found = importlib.metadata.version("lm_eval")
        if found != VERSION:
            raise ValueError(
                f"task lm_eval needs lm-eval=={VERSION}, installed is {found}, whose numbers may differ; run "
                f"pip install lm-eval=={VERSION}"
            )
        manager = self._manager()
        for task in self.tasks:
            if task not in manager.all_tasks:
                near = difflib.get_close_matches(task, manager.all_tasks, n=3)
                hint = f"did you mean {', '.join(near)}?" if near else "lm-eval ls tasks lists them"
                raise ValueError(f"lm-eval {VERSION} has no task '{task}'; {hint}")
            try:
                manager.load([task])
            except Exception as error:  # the packages that read data raise what they like
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                where = "fetch its data first" if self.data_folder is None else f"see {self.data_folder}"
                raise ValueError(
                    f"task '{task}' of lm-eval cannot be loaded ({reason[:500]}); {where}, or take another "
                    "task"
                ) from error

    def _manager(self) -> "TaskManager":
        own = _manager(self.task_folder, False) if self.task_folder is not None else None
        if own is not None and set(self.tasks) <= set(own.all_tasks):
            return own
        return _manager(self.task_folder, True)

    def measure(self, model, windows, *, seed):
        """Rows of samples, and of tasks.

        Args:
            model: a Hugging Face causal language model.
            windows: manifest of the model, whose folder holds the tokenizer.
            seed: of examples that are drawn.

        Raises:
            ValueError: a prompt is longer than max_length, or the package refuses a task.
        """
        from lm_eval import simple_evaluate
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            windows.parent, local_files_only=True, trust_remote_code=False
        )
        if self.apply_chat_template and not tokenizer.chat_template:
            raise ValueError(
                f"{windows.parent} has no chat template; set apply_chat_template: false, or take a model "
                "with one"
            )
        if tokenizer.pad_token_id is None:
            # It stands behind sequences, where a causal model does not see it.
            tokenizer.pad_token = tokenizer.eos_token
        results = simple_evaluate(
            model=self._harness_model(model, tokenizer),
            tasks=self.tasks,
            num_fewshot=self.num_fewshot,
            limit=self.limit,
            bootstrap_iters=0,
            apply_chat_template=self.apply_chat_template,
            task_manager=self._manager(),
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
        )
        return [*_sample_rows(results), *_task_rows(results)]

    def _harness_model(self, model: Any, tokenizer: Any) -> "HFLM":
        from lm_eval.models.huggingface import HFLM

        class UncutModel(HFLM):
            """The package's model, which refuses what it would cut."""

            def _loglikelihood_tokens(self, requests, *arguments, **options):
                for _, context, continuation in requests:
                    self.require_room(len(context) + len(continuation) - 1, continuation)
                return super()._loglikelihood_tokens(requests, *arguments, **options)

            def generate_until(self, requests, *arguments, **options):
                for request in requests:
                    prompt, settings = request.args
                    new_tokens = settings.get("max_gen_toks", self.max_gen_toks)
                    self.require_room(len(self.tok_encode(prompt)) + new_tokens, prompt)
                return super().generate_until(requests, *arguments, **options)

            def require_room(self, tokens, what):
                if tokens > self.max_length:
                    text = what if isinstance(what, str) else self.tok_decode(what)
                    raise ValueError(
                        f"a prompt of {tokens} tokens with its answer ({text[:60]!r}…) would be cut to "
                        f"{self.max_length}; raise max_length, lower num_fewshot, or take another task"
                    )

        return UncutModel(
            pretrained=model,
            tokenizer=tokenizer,
            backend="causal",
            batch_size=self.batch_size,
            max_length=self.max_length,
        )

    def values(self, rows):
        """The first metric of each task, for each sample."""
        import pandas as pd

        rows = rows[rows["sample_id"].notna() & rows["is_first"]]
        sign = rows["higher_is_better"].map({True: 1.0, False: -1.0})
        sample = rows["task"] + "/" + rows["sample_id"]
        return pd.DataFrame(
            {
                "measure": "score",
                "sample": sample,
                "cluster": sample,
                "group": rows["task"],
                "length": float("nan"),
                "value": rows["value"] * sign,
                "weight": rows["weight"],
            }
        )

    def summary(self, base, trained):
        """Each task's first metric before and after, as the package has it."""
        before, after = ({row["task"]: row for row in rows if _is_whole(row)} for rows in (base, trained))
        return [
            (f"lm-eval {task}, {row['metric']}", f"{row['value']:.4f} → {after[task]['value']:.4f}")
            for task, row in before.items()
        ]

    def draw(self, axes, tables):
        """Each task's first metric, a group of bars for each."""
        names = list(tables)
        for place, (name, rows) in enumerate(tables.items()):
            whole = rows[rows["sample_id"].isna() & rows["is_first"]]
            offsets = [number + 0.8 * place / len(names) for number in range(len(whole))]
            axes.bar(offsets, whole["value"], width=0.8 / len(names), align="edge", label=name)
            axes.set_xticks([number + 0.4 for number in range(len(whole))], whole["task"], rotation=30)
        axes.set(ylabel=self.label)
        axes.legend()

    def windows_measured(self, held_out, works):
        """None: it measures on no windows."""
        return None

    def needs(self, shape, windows, *, window_tokens, dtype, compile_layers, device_flops):
        """A forward pass over some sequences; how many is known to the package alone."""
        return super().needs(
            shape,
            None,
            window_tokens=self.batch_size * (self.max_length or window_tokens),
            dtype=dtype,
            compile_layers=compile_layers,
            device_flops=device_flops,
        )


@functools.cache
def _manager(folder: str | None, with_built_in: bool) -> "TaskManager":
    """Index of the package's tasks, which takes seconds to make, or of a folder's alone."""
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=folder, include_defaults=with_built_in)


def _is_whole(row: dict) -> bool:
    return not isinstance(row["sample_id"], str) and row["is_first"]


def _sample_rows(results: dict) -> Iterator[dict]:
    for task, samples in sorted(results["samples"].items()):
        first = _first_metric(results, task)
        for sample in sorted(samples, key=lambda sample: (sample["doc_id"], sample["filter"])):
            for metric in sample["metrics"]:
                # Log-likelihoods come with what they are divided by: words, or bytes.
                value, weight = _value_and_weight(sample[metric])
                if value is not None:
                    yield {
                        **_origin(results, task, metric, sample["filter"], first),
                        # A perplexity's samples are log-likelihoods.
                        **({"higher_is_better": True} if weight != 1 else {}),
                        "sample_id": str(sample["doc_id"]),
                        "value": value,
                        "weight": weight,
                    }


def _task_rows(results: dict) -> Iterator[dict]:
    for task, numbers in sorted(results["results"].items()):
        first = _first_metric(results, task)
        for key, value in numbers.items():
            metric, _, kind = key.partition(",")
            if kind and isinstance(value, int | float) and not metric.endswith("_stderr"):
                yield {
                    **_origin(results, task, metric, kind, first),
                    "sample_id": None,
                    "value": float(value),
                    "weight": 1.0,
                }


def _first_metric(results: dict, task: str) -> str | None:
    keys = (key for key in results["results"].get(task, {}) if "," in key)
    return next((key for key in keys if not key.partition(",")[0].endswith("_stderr")), None)


def _origin(results: dict, task: str, metric: str, kind: str, first: str | None) -> dict:
    return {
        "task": task,
        "version": str(results["versions"].get(task, "")),
        "filter": kind,
        "metric": metric,
        "is_first": first == f"{metric},{kind}",
        "higher_is_better": results["higher_is_better"].get(task, {}).get(metric),
    }


def _value_and_weight(value: Any) -> tuple[float | None, float]:
    if isinstance(value, tuple | list) and len(value) == 2:
        total, count = value
        numbers = all(isinstance(part, int | float) for part in value)
        return (float(total) / count, float(count)) if numbers and count > 0 else (None, 1.0)
    if isinstance(value, bool | int | float) and math.isfinite(value):
        return float(value), 1.0
    return None, 1.0

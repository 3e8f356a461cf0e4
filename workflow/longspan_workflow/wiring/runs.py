"""Where trainings and evaluations lie and what goes into them: paths by names, and their rules' settings."""

from pathlib import Path

from longspan.store.shards import HELD_OUT
from longspan_workflow.settings.relations import losses_of
from longspan_workflow.settings.seeds import derive_seed
from longspan_workflow.wiring.layout import Layout

BASE = "base"
# Settings of a training that say how it runs, not what it learns.
EXECUTION_KEYS = (
    "devices",
    "nodes",
    "sharding",
    "cpu_offload",
    "gradient_checkpointing",
    "compile_layers",
    "keep_attention",
    "mlp_tokens",
    "report_to",
)


class Runs:
    """Paths and settings blocks of the trainings and evaluations of one workflow.

    Args:
        layout: paths and settings of what they are made from.
    """

    def __init__(self, layout: Layout):
        self._layout = layout
        self._settings = layout.settings
        self.run = f"{layout.results}/runs/{{run}}/{{loss}}/seed{{seed}}"
        self.evaluation = f"{layout.results}/evaluations/{{run}}/{{trained}}.parquet"

    def trainings(self) -> list[dict[str, str]]:
        """Run, loss and seed of every training."""
        return [
            {"run": name, "loss": loss, "seed": str(seed)}
            for name, run in self._settings["runs"].items()
            for loss in losses_of(run)
            for seed in run["seeds"]
        ]

    def settings(self, wildcards) -> dict:
        """Loss and training settings of a run, and the seed of its data order."""
        run = self._settings["runs"][wildcards.run]
        loss = self._settings["losses"][wildcards.loss]
        block = run["train"]
        elsewhere = {
            "rope_theta",
            "context_parallel_size",
            "eval_steps",
            "gradient_accumulation_steps",
            *EXECUTION_KEYS,
        }
        train = {key: value for key, value in block.items() if key not in elsewhere}
        # However many devices share an update, it is the same update.
        train["windows_per_update"] = (
            block["devices"]
            * block["nodes"]
            * block["per_device_train_batch_size"]
            * block["gradient_accumulation_steps"]
        )
        forward = self._layout.forward_settings(run["model"], run["train"]["rope_theta"])
        mixture = {}
        if run["mixture"] is not None:
            mixture = {"mixture": self._settings["mixtures"][run["mixture"]]["short"]}
        return {
            **mixture,
            "loss": {key: value for key, value in loss.items() if key != "scorer"},
            "train": train,
            "attention": forward["attention"],
            "rope_theta": forward["rope_theta"],
            "seed": derive_seed(self._settings["seed"], "train", f"{wildcards.run}/{wildcards.seed}"),
        }

    def execution(self, wildcards) -> dict:
        """How a run's training is executed, which changes what it learns by rounding at most."""
        block = self._settings["runs"][wildcards.run]["train"]
        own = {key: block[key] for key in EXECUTION_KEYS if key not in ("devices", "nodes")}
        return own | {"processes": block["devices"] * block["nodes"]}

    def short_tokens(self, wildcards) -> dict[str, list[str]]:
        """Tables of tokens of the short documents of a run's mixture, by corpus."""
        run = self._settings["runs"][wildcards.run]
        if run["mixture"] is None:
            return {}
        tokenizer = self._settings["windowings"][run["windowing"]]["tokenizer"]
        return {
            source["corpus"]: [
                self._layout.tokens.format(corpus=source["corpus"], tokenizer=tokenizer, shard=shard)
                for shard in self._layout.shards(source["corpus"])
            ]
            for source in self._settings["mixtures"][run["mixture"]]["short"]
        }

    def short_arguments(self, wildcards) -> list[str]:
        """Folder and number of shards of each, for the training's command line."""
        return [
            argument
            for corpus, tables in self.short_tokens(wildcards).items()
            for argument in ("--short", corpus, str(Path(tables[0]).parent), str(len(tables)))
        ]

    def guard(self, wildcards) -> dict | None:
        """Held-out windows that a run scores in the course of its training, if any."""
        run = self._settings["runs"][wildcards.run]
        if run["train"]["eval_steps"] is None:
            return None
        return {
            "eval_steps": run["train"]["eval_steps"],
            "windows_per_document": self._settings["evaluation"]["windows_per_document"],
            "seed": derive_seed(self._settings["seed"], "evaluate", run["windowing"]),
        }

    def held_out(self, wildcards) -> dict[str, list[str]]:
        """Tables of those windows."""
        if self.guard(wildcards) is None:
            return {"held_out_tokens": [], "held_out_windows": []}
        windowing = self.windowing(wildcards)
        return {
            "held_out_tokens": [self._layout.tokens_of(windowing, HELD_OUT)],
            "held_out_windows": [self._layout.windows.format(windowing=windowing, shard=HELD_OUT)],
        }

    def devices(self, wildcards) -> int:
        """Devices of each node that a run trains on."""
        return self._settings["runs"][wildcards.run]["train"]["devices"]

    def nodes(self, wildcards) -> int:
        """Nodes that a run trains on."""
        return self._settings["runs"][wildcards.run]["train"]["nodes"]

    def model(self, wildcards) -> str:
        """Manifest of the model that a run trains."""
        return self._layout.model_of(self._settings["runs"][wildcards.run]["model"])

    def windowing(self, wildcards) -> str:
        """Windowing of a run."""
        return self._settings["runs"][wildcards.run]["windowing"]

    def kept(self, wildcards) -> list[str]:
        """Kept windows of a run's selection, if it has one."""
        selection = self._settings["runs"][wildcards.run]["selection"]
        return [self._layout.kept.format(selection=selection)] if selection else []

    def scores(self, wildcards) -> dict[str, list[str]]:
        """Index and scores of a run's frozen NLL store, if its loss uses one."""
        scorer = self._settings["losses"][wildcards.loss].get("scorer")
        if scorer is None:
            return {"index": [], "scores": []}
        windowing = self.windowing(wildcards)
        index = self._layout.score_index.format(windowing=windowing, scorer=scorer)
        return {"index": [index], "scores": self._layout.all_scores(windowing, scorer)}

    def evaluated_model(self, wildcards) -> str:
        """What an evaluation measures: the run's base model, or a trained one."""
        if wildcards.trained == BASE:
            return self.model(wildcards)
        return f"{self._layout.results}/runs/{wildcards.run}/{wildcards.trained}/model/longspan.json"

    def evaluation_settings(self, wildcards) -> dict:
        """How held-out perplexity is measured."""
        run = self._settings["runs"][wildcards.run]
        return {
            **self._settings["evaluation"],
            **self._layout.forward_settings(run["model"], run["train"]["rope_theta"]),
            "seed": derive_seed(self._settings["seed"], "evaluate", run["windowing"]),
        }

    def evaluations(self) -> list[str]:
        """Every evaluation: base and trained models of each run."""
        trained = [(item["run"], f"{item['loss']}/seed{item['seed']}") for item in self.trainings()]
        base = [(run, BASE) for run in self._settings["runs"]]
        return [self.evaluation.format(run=run, trained=name) for run, name in base + trained]

"""Make RULER's samples by the published generators and by longspan, and compare them one by one.

    python tests/ruler/compare.py --folder /tmp/ruler --model results/models/smollm2-135m \
        [--lengths 4096 16384] [--samples 10] [--tasks vt cwe] [--seed 42] [--chat]

The folder gets the pinned wheels and, by pip, what the generators need beside them. The published generators
run in a process of their own, with the essays as the haystack, and take half a minute and more for a task.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]

from longspan.evaluation.ruler.prompts import BASE_FORM, PromptForm  # noqa: E402
from longspan.evaluation.ruler.published import ARCHIVES, TASKS, Published  # noqa: E402
from longspan.evaluation.ruler.samples import Room, RulerSamples  # noqa: E402
from longspan.fetching.pypi_archives import fetch_archive  # noqa: E402
from longspan.tokens.byte_level import checked_tokenizer  # noqa: E402

# What the generators import.
NEEDED = ("nltk", "wonderwords==3.0.1", "tenacity", "scipy", "tqdm")
CHAT = PromptForm("[INST] ", " [/INST]")


@dataclass(frozen=True)
class PublishedGenerators:
    """The published generators in a folder.

    Attributes:
        ruler: the unpacked wheel.
        word_lists: folder of the words' lists.
        punkt: file of Punkt's parameters.
        site: folder of the packages that they need.
        seconds: of CPU that each task took the last time.
    """

    ruler: Path
    word_lists: Path
    punkt: Path
    site: Path
    seconds: dict[str, float] = field(default_factory=dict)

    @classmethod
    def unpacked(cls, wheels: Sequence[Path], folder: Path, site: Path) -> "PublishedGenerators":
        """Unpack the wheels into a folder, one over the other."""
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
        return cls(folder, folder / "wonderwords/assets", folder / "punkt/data/english.py", site)

    def samples(
        self,
        published: Published,
        model: Path,
        names: Sequence[str],
        length: int,
        samples: int,
        seed: int,
        form,
    ) -> dict[str, list[tuple[str, list[str]]]]:
        """(prompt, answers) of each sample of some tasks."""
        with tempfile.TemporaryDirectory() as out:
            runs = []
            for name in names:
                task = published.tasks[name]
                options = {
                    "save_dir": out,
                    "save_name": name,
                    "tokenizer_path": str(model),
                    "tokenizer_type": "hf",
                    "max_seq_length": length,
                    "tokens_to_generate": task.tokens_to_generate,
                    "num_samples": samples,
                    "random_seed": seed,
                    "template": form.before + task.template + form.after + task.answer_prefix,
                    **task.arguments,
                }
                runs.append(
                    [
                        f"{task.kind}.py",
                        [part for key, value in options.items() for part in (f"--{key}", str(value))],
                    ]
                )
            seconds = Path(out, "seconds.json")
            paths = {name: str(getattr(self, name)) for name in ("ruler", "word_lists", "punkt")}
            subprocess.run(
                [sys.executable, str(Path(__file__).with_name("run_published.py"))],
                input=json.dumps({"runs": runs, "seconds": str(seconds), **paths}),
                env={**os.environ, "PYTHONPATH": str(self.site), "HF_HUB_OFFLINE": "1"},
                capture_output=True,
                text=True,
                check=True,
            )
            found = {}
            for name in names:
                lines = Path(out, name, "validation.jsonl").read_text().splitlines()
                found[name] = [(row["input"], row["outputs"]) for row in map(json.loads, lines)]
            self.seconds.update(zip(names, json.loads(seconds.read_text()), strict=True))
            return found


def own_samples(published, encode, names, length, samples, seed, form):
    """The same by longspan."""
    maker = RulerSamples(published, encode, form=form, seed=seed)
    room = Room(length, is_published=True)
    return {
        name: [(sample.prompt, sample.answers) for sample in maker.make(name, samples, room)]
        for name in names
    }


def encoder(model: Path):
    """What tokenizes as the model's tokenizer does."""
    tokenizer, _ = checked_tokenizer(model, ["Some words, and 1234567 more."])
    return lambda texts: [document.input_ids for document in tokenizer.encode_batch(texts).documents()]


def prepare(folder: Path) -> tuple[Published, PublishedGenerators]:
    """Fetch and install what is not there yet."""
    wheels = [folder / archive.archive for archive in ARCHIVES]
    for wheel, archive in zip(wheels, ARCHIVES, strict=True):
        fetch_archive(archive.requirement, wheel, archive.sha256)
    site = folder / "site"
    if not site.exists():
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), *NEEDED], check=True
        )
    return Published(*wheels), PublishedGenerators.unpacked(wheels, folder / "wheels", site)


def main(argv=None):
    """Compare, and fail where two samples differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the wheels are kept")
    parser.add_argument("--model", type=Path, required=True, help="folder with a tokenizer")
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096])
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--chat", action="store_true", help="in a chat's form")
    arguments = parser.parse_args(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    published, generators = prepare(arguments.folder)
    encode, form = encoder(arguments.model), CHAT if arguments.chat else BASE_FORM
    different = 0
    for length in arguments.lengths:
        drawn = (length, arguments.samples, arguments.seed, form)
        own, seconds = {}, {}
        for name in arguments.tasks:
            start = time.process_time()
            own |= own_samples(published, encode, [name], *drawn)
            seconds[name] = time.process_time() - start
        theirs = generators.samples(published, arguments.model, arguments.tasks, *drawn)
        for name in arguments.tasks:
            same = sum(one == other for one, other in zip(own[name], theirs[name], strict=True))
            different += arguments.samples - same
            print(
                f"{name} at {length}: {same} of {arguments.samples} samples are the same; "
                f"longspan {seconds[name]:.1f} s of CPU, published {generators.seconds[name]:.1f}",
                flush=True,
            )
    if different:
        sys.exit(f"{different} samples differ")


if __name__ == "__main__":
    main()

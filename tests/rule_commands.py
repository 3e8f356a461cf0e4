"""What each rule's own command gives its script: the arguments, taken from the job that Snakemake makes.

Snakemake runs in a process of its own, since the workflow changes the process that reads it. A job is made
for its wildcards alone, in an empty folder, so no file has to be there.
"""

import asyncio
import functools
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
# Functions of the shell in place of programs that a command calls: each keeps its arguments, or swallows
# its input.
_RECORDER = 'printf \'%s\\0\' "$@" > "$RECORDS/$BASHPID.$RANDOM"'
_PROGRAMS = {"python": _RECORDER, "srun": _RECORDER, "tee": "cat > /dev/null"}
_KEPT_WORKFLOWS = 16


@dataclass(frozen=True)
class RuleJob:
    """A job as Snakemake makes it for its wildcards.

    Attributes:
        inputs: files that it waits for.
        outputs: files that it makes.
        params: its parameters that have names.
        command: the shell's text.
    """

    inputs: list[str]
    outputs: list[str]
    params: dict
    command: str


@functools.lru_cache(maxsize=4096)
def rule_command(rule: str, wildcards: frozenset[tuple[str, str]], config: str) -> tuple[str, ...]:
    """Script that a rule's command calls and the arguments that it gives it, whatever files are there.

    Args:
        rule: name of the rule.
        wildcards: pairs of a wildcard's name and value; others than the rule's are left aside.
        config: settings as YAML, the content of a config file.

    Raises:
        ValueError: the settings have a fault, the rule makes nothing for these wildcards, or its command
            calls no script.
    """
    return tuple(_ask("command", rule=rule, wildcards=dict(wildcards), config=config))


def rule_job(rule: str, wildcards: dict[str, str], config: str, folder: Path) -> RuleJob:
    """A rule's job over the files that a folder holds now; the rest as of `rule_command`."""
    return RuleJob(**_ask("job", rule=rule, wildcards=wildcards, config=config, folder=str(folder)))


def _ask(wanted: str, **request) -> Any:
    server = _server()
    server.stdin.write(json.dumps({"wanted": wanted, **request}) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    if not answer:
        raise RuntimeError(f"the process of {__file__} ended with {server.wait()}; its errors are above")
    answer = json.loads(answer)
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer[wanted]


@functools.cache
def _server() -> subprocess.Popen:
    # It ends with this process, at the end of its input.
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
        cwd="/",
    )


class RuleCommands:
    """The workflow of some settings, and the commands of its jobs.

    Args:
        config: settings as YAML.
        configfile: where to write them.
        folder: where Snakemake works.
    """

    def __init__(self, config: str, configfile: Path, folder: Path):
        from snakemake.api import (
            ConfigSettings,
            DAGSettings,
            OutputSettings,
            ResourceSettings,
            SnakemakeApi,
        )
        from snakemake.settings.types import Quietness

        configfile.write_text(config)
        # In a dry run of a new corpus, planning is no checkpoint.
        output = OutputSettings(dryrun=True, quiet={Quietness.ALL})
        with SnakemakeApi(output) as api:
            self._workflow = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=[configfile]),
                snakefile=ROOT / "Snakefile",
                workdir=folder,
            )._workflow
            self._workflow.dag_settings = DAGSettings()
            self._workflow._prepare_dag(
                forceall=False, ignore_incomplete=True, lock_warn_only=True, nolock=True
            )
        self._names = dict(self._workflow.globals)
        gc.enable()

    def job(self, name: str, wildcards: dict[str, str]):
        """A rule's job."""
        # All workflows of a process share the names of their rule files, which functions in these look up.
        self._workflow.globals.update(self._names)
        rule, dag = self._workflow.get_rule(name), self._workflow.dag
        own, target = {}, None
        if rule.output:
            missing = sorted(rule.wildcard_names - wildcards.keys())
            if missing:
                raise ValueError(f"rule {name} needs values of its wildcards {', '.join(missing)}")
            own = {wildcard: wildcards[wildcard] for wildcard in rule.wildcard_names}
            target = str(rule.output[0].apply_wildcards(own))
            if not rule.is_producer(target):
                raise ValueError(f"rule {name} does not make {target}")
        job = asyncio.run(dag.job_factory.new(rule, dag, wildcards_dict=own, targetfile=target))
        dag._jobid.setdefault(job, len(dag._jobid))
        return job


def recorded_command(command: str, logs: Sequence[str] = ()) -> list[str]:
    """The script that a command calls and what a shell gives it, without running it.

    Args:
        command: text for bash.
        logs: its logs; a file that the command writes beside one is given by its content.
    """
    from snakemake.shell import shell

    functions = "\n".join(f"{name}() {{ {body}; }}" for name, body in _PROGRAMS.items())
    with tempfile.TemporaryDirectory() as temporary:
        records = Path(temporary, "records")
        records.mkdir()
        for log in logs:
            Path(temporary, log).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["bash", "-c", f"{functions}\n{shell._process_prefix or ''}{command}"],
            env=os.environ | {"RECORDS": str(records)},
            cwd=temporary,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for record in records.iterdir():
            words = record.read_text().split("\0")[:-1]
            for place, word in enumerate(words):
                if Path(word).parent.name == "scripts" and word.endswith(".py"):
                    return [Path(word).stem, *(_written(temporary, given) for given in words[place + 1 :])]
    raise ValueError(f"the command calls no script: {command}")


def _written(folder: str, argument: str) -> str:
    """What a command wrote into a file that it names, or the argument itself."""
    path = Path(folder, argument)
    return path.read_text() if argument.endswith(".json") and path.is_file() else argument


def _serve() -> None:
    """Answer requests, one JSON object a line, until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed
    with tempfile.TemporaryDirectory() as temporary:
        empty = Path(temporary, "empty")
        empty.mkdir()

        @functools.lru_cache(maxsize=_KEPT_WORKFLOWS)
        def commands(config: str, folder: str) -> RuleCommands:
            return RuleCommands(config, Path(temporary, "config.yaml"), Path(folder))

        for line in sys.stdin:
            request = json.loads(line)
            folder = request.get("folder", str(empty))
            try:
                rules = commands(request["config"], folder)
                os.chdir(folder)
                job = rules.job(request["rule"], request["wildcards"])
                if request["wanted"] == "command":
                    answer = {"command": recorded_command(job.shellcmd, job.log)}
                else:
                    files = {"inputs": list(map(str, job.input)), "outputs": list(map(str, job.output))}
                    rest = {"params": dict(job.params.items()), "command": job.shellcmd}
                    answer = {"job": files | rest}
                answer = json.dumps(answer)
            except Exception as error:
                answer = json.dumps({"error": f"{type(error).__name__}: {error}"})
            answers.write(answer + "\n")
            answers.flush()


def as_config(settings: dict) -> str:
    """Settings as the text of a config file."""
    return yaml.safe_dump(settings)


if __name__ == "__main__":
    _serve()

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
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
# Programs that a command calls, in place of the real ones: each keeps its arguments, or swallows its input.
_RECORDER = '#!/bin/sh\nprintf \'%s\\0\' "$@" > "$RECORDS/$$"\n'
_PROGRAMS = {"python": _RECORDER, "srun": _RECORDER, "tee": "#!/bin/sh\nexec cat > /dev/null\n"}
_KEPT_WORKFLOWS = 16


@functools.lru_cache(maxsize=4096)
def rule_arguments(rule: str, wildcards: frozenset[tuple[str, str]], config: str) -> tuple[str, ...]:
    """Arguments that a rule's command gives the script of the same name.

    Args:
        rule: name of the rule.
        wildcards: pairs of a wildcard's name and value; others than the rule's are left aside.
        config: settings as YAML, the content of a config file.

    Raises:
        ValueError: the settings have a fault, the rule makes nothing for these wildcards, or its command
            calls no such script.
    """
    request = {"rule": rule, "wildcards": dict(wildcards), "config": config}
    server = _server()
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline()
    if not answer:
        raise RuntimeError(f"the process of {__file__} ended with {server.wait()}; its errors are above")
    answer = json.loads(answer)
    if "error" in answer:
        raise ValueError(answer["error"])
    return tuple(answer["arguments"])


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
        folder: where Snakemake works; empty, and not used otherwise.
    """

    def __init__(self, config: str, folder: Path):
        from snakemake.api import (
            ConfigSettings,
            DAGSettings,
            OutputSettings,
            ResourceSettings,
            SnakemakeApi,
        )
        from snakemake.settings.types import Quietness

        folder.mkdir()
        configfile = folder / "config.yaml"
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
        gc.enable()

    def command(self, name: str, wildcards: dict[str, str]) -> str:
        """The shell's text of a rule's job."""
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
        return job.shellcmd


def recorded_arguments(command: str, script: str) -> list[str]:
    """What a shell gives a script under a command, without running it.

    Args:
        command: text for bash.
        script: the script's name, without its ending.
    """
    from snakemake.shell import shell

    with tempfile.TemporaryDirectory() as temporary:
        programs, records = Path(temporary, "programs"), Path(temporary, "records")
        programs.mkdir()
        records.mkdir()
        for name, content in _PROGRAMS.items():
            (programs / name).write_text(content)
            (programs / name).chmod(0o755)
        environment = os.environ | {"RECORDS": str(records), "PATH": f"{programs}:{os.environ['PATH']}"}
        subprocess.run(
            ["bash", "-c", f"{shell._process_prefix or ''}{command}"],
            env=environment,
            cwd=temporary,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for record in records.iterdir():
            words = record.read_text().split("\0")[:-1]
            for place, word in enumerate(words):
                if Path(word).name == f"{script}.py":
                    return words[place + 1 :]
    raise ValueError(f"the command of {script} does not call {script}.py: {command}")


def _serve() -> None:
    """Answer requests, one JSON object a line, until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed
    with tempfile.TemporaryDirectory() as temporary:
        numbers = iter(range(10**9))

        @functools.lru_cache(maxsize=_KEPT_WORKFLOWS)
        def commands(config: str) -> RuleCommands:
            return RuleCommands(config, Path(temporary, str(next(numbers))))

        for line in sys.stdin:
            request = json.loads(line)
            rule = request["rule"]
            try:
                command = commands(request["config"]).command(rule, request["wildcards"])
                answer = {"arguments": recorded_arguments(command, rule)}
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


def as_config(settings: dict) -> str:
    """Settings as the text of a config file."""
    return yaml.safe_dump(settings)


if __name__ == "__main__":
    _serve()

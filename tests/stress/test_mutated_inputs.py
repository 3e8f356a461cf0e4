import importlib.util
import subprocess
import sys
from pathlib import Path

import pyarrow as pa

PATH = Path(__file__).with_name("mutate_inputs.py")


def test_no_mutation_of_an_input_is_lost_in_silence():
    """The short form; `python tests/stress/mutate_inputs.py` is the long one."""
    specification = importlib.util.spec_from_file_location("mutate_inputs", PATH)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    outcomes = module.stress(mutations=50, seed=0)
    assert all(counts.total() == 50 for counts in outcomes.values())
    # The mutations do find something, and not all is lost.
    found = {reason for counts in outcomes.values() for outcome in counts for reason in outcome.split(", ")}
    assert found >= {"all kept", "bad file", "bad encoding", "bad JSON", "bad column", "empty", "duplicate"}


def test_a_huge_line_takes_little_memory(tmp_path):
    """All but a gigabyte in one line, as a compressed file; more out of such a file is refused as a bomb."""
    path = tmp_path / "huge.jsonl.gz"
    with pa.CompressedOutputStream(path, "gzip") as file:
        file.write(b'{"text": "before"}\n{"text": "')
        for _ in range(1023):
            file.write(b"x" * 2**20)
        file.write(b'"}\n{"text": "behind"}\n')
    code = (
        "import resource, sys\n"
        "from longspan.corpora.raw_files import read_rows\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "rows = list(read_rows(sys.argv[1], None, 'jsonl', 'utf-8'))\n"
        "print([getattr(row, 'reason', None) or row['text'] for row in rows])\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True, timeout=300
    )
    rows, gigabytes = result.stdout.splitlines()
    assert rows == "['before', 'too long', 'behind']"
    assert float(gigabytes) < 0.5

"""Run the published generators as they are, several of them in one process.

    python tests/ruler/run_published.py < jobs.json

Sentences are split by NLTK's own Punkt, whose parameters come out of the punkt wheel instead of a download.
The jobs name the folder of the unpacked wheel, that of the words' lists, Punkt's file, and each generator's
arguments.
"""

import functools
import importlib
import json
import runpy
import sys
import time
from pathlib import Path


def main():
    jobs = json.load(sys.stdin)
    scripts = Path(jobs["ruler"], "long_context_eval/data/synthetic")
    sys.path[:0] = [jobs["ruler"], str(scripts)]

    import nltk.tokenize
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    learned = runpy.run_path(jobs["punkt"])
    parameters = PunktParameters()
    parameters.abbrev_types = set(learned["ABBREV_TYPES"])
    parameters.collocations = set(learned["COLLOCATIONS"])
    parameters.sent_starters = set(learned["SENT_STARTERS"])
    parameters.ortho_context.update(learned["ORTHO_CONTEXT"])
    splitter = PunktSentenceTokenizer()
    splitter._params = parameters
    nltk.tokenize.sent_tokenize = splitter.tokenize

    import wonderwords.random_word

    def words(name):
        return [line.rstrip() for line in Path(jobs["word_lists"], name).read_text().splitlines()]

    wonderwords.random_word._get_words_from_text_file = words

    import transformers

    load = transformers.AutoTokenizer.from_pretrained
    transformers.AutoTokenizer.from_pretrained = functools.cache(load)
    seconds = []
    for script, arguments in jobs["runs"]:
        # What a generator imports of the templates must be those of this wheel.
        for name in ("constants", "tokenizer"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        sys.argv = [str(scripts / script), *arguments]
        start = time.process_time()
        runpy.run_path(sys.argv[0], run_name="__main__")
        seconds.append(time.process_time() - start)
    Path(jobs["seconds"]).write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()

import json
from pathlib import Path

import pytest

from longspan.evaluation.ruler.niah import NOISE
from longspan.evaluation.ruler.prompts import BASE_FORM, PromptForm
from longspan.evaluation.ruler.published import TASKS
from longspan.evaluation.ruler.samples import Room, RulerSamples
from longspan.tokens.byte_level import checked_tokenizer
from tiny_inputs import make_model
from tiny_ruler import digest, tiny_published

GOLDEN = Path(__file__).parents[3] / "golden" / "ruler.json"
CHAT = PromptForm("[INST] ", " [/INST]")
LENGTHS = (3000, 6000)  # below and above where the published settings change


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    return tiny_published(tmp_path_factory.mktemp("wheels"))


@pytest.fixture(scope="module")
def encode(published, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    return tiny_encoder(folder, published)


def tiny_encoder(folder, published):
    assignments = "VAR ABCDE = VAR QWERT Answer: variables have the value and they are"
    make_model(folder, [published.essays[:8000], *[NOISE, assignments] * 60])
    tokenizer, _ = checked_tokenizer(folder, [NOISE])
    return lambda texts: [document.input_ids for document in tokenizer.encode_batch(texts).documents()]


@pytest.mark.parametrize("form", [BASE_FORM, CHAT], ids=["base", "chat"])
@pytest.mark.parametrize("length", LENGTHS)
def test_samples_are_those_of_the_published_generators(published, encode, length, form):
    # The digests are of what the published generators made: tests/ruler/test_generators.py runs them.
    maker = RulerSamples(published, encode, form=form)
    golden = json.loads(GOLDEN.read_text())[f"{'chat' if form.before else 'base'} {length}"]
    for name in TASKS:
        samples = maker.make(name, 6, Room(length, is_published=True))
        found = digest([part for sample in samples for part in (sample.prompt, *sample.answers)])
        assert found == golden[name], name


@pytest.mark.parametrize("name", TASKS)
def test_prompts_fit_with_answer_and_beginning_and_hold_their_answers(published, encode, name):
    for haystack in ("essays", "noise"):
        maker = RulerSamples(published, encode, haystack=haystack, seed=1)
        samples = maker.make(name, 9, Room(6000, beginning_tokens=1))
        assert len(samples) == 9
        for sample in samples:
            tokens = len(sample.input_ids) + 1 + published.tasks[name].tokens_to_generate
            assert 4000 < tokens <= 6000
            assert list(encode([sample.prompt])[0]) == list(sample.input_ids)
            if name == "qa_2":  # their answers are made up
                continue
            assert all(answer in sample.prompt for answer in sample.answers)


def test_books_are_a_haystack(published, encode):
    text = " ".join(f"Sentence {number} of a book." for number in range(5000))
    maker = RulerSamples(published, encode, haystack="books", books=text)
    (sample,) = maker.make("niah_single_2", 1, Room(3000))
    assert "Sentence 3 of a book. Sentence 4 of a book." in sample.prompt


def test_books_that_are_too_short_are_refused(published, encode):
    maker = RulerSamples(published, encode, haystack="books", books="Few words. " * 300)
    with pytest.raises(
        ValueError,
        match="niah_single_2 at 6,000 tokens: there are 601 words of the held-out works, and more would fit; "
        "leave the task or the length out",
    ):
        maker.make("niah_single_2", 1, Room(6000))


def test_more_samples_than_questions_are_refused(published, encode):
    with pytest.raises(ValueError, match="qa_2 at 3,000 tokens: there are 40 questions, and samples is 41"):
        RulerSamples(published, encode).make("qa_2", 41, Room(3000))


def test_documents_that_do_not_fill_a_length_are_refused(published, encode):
    with pytest.raises(
        ValueError, match=r"qa_1 at 60,000 tokens: there are \d+ documents, and more would fit"
    ):
        RulerSamples(published, encode).make("qa_1", 1, Room(60_000))


@pytest.mark.parametrize("name", TASKS)
def test_a_length_that_holds_nothing_is_refused(published, encode, name):
    with pytest.raises(ValueError, match=f"{name} at 150 tokens: .* fit"):
        RulerSamples(published, encode).make(name, 1, Room(150))


def test_a_sample_does_not_depend_on_how_many_there_are(published, encode):
    for name in TASKS:
        few, more = (RulerSamples(published, encode).make(name, count, Room(3000)) for count in (3, 12))
        assert [sample.prompt for sample in few] == [sample.prompt for sample in more[:3]]

import json
import shutil

import numpy as np
import pytest

from longspan.evaluation.prompts import PromptTokenizer
from longspan.models.folders import finish_model


def other_folder(model_folder, folder, **files):
    """A copy of the model's folder with other settings of its tokenizer."""
    shutil.copytree(model_folder, folder)
    (folder / "longspan.json").unlink()
    for name, change in files.items():
        path = folder / f"{name}.json"
        content = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(content | change))
    finish_model(folder, source={"kind": "folder"}, license="CC0-1.0")
    return PromptTokenizer(folder / "longspan.json")


@pytest.fixture(scope="module")
def chatting(model_folder, tmp_path_factory):
    template = "{% for turn in messages %}<s>{{ turn.role }}: {{ turn.content }}\n{% endfor %}model:"
    return other_folder(
        model_folder, tmp_path_factory.mktemp("chat") / "m", tokenizer_config={"chat_template": template}
    )


@pytest.mark.parametrize("words", [1, 40, 900])
def test_an_answers_ids_are_those_of_the_whole_text(tokenizer, works, words):
    prompt = tokenizer.prompt(" ".join(works[0].text.split()[:words]))
    answer = tokenizer.answer(prompt, " evening, and 12345")
    whole = tokenizer.prompt(prompt.text + " evening, and 12345")
    np.testing.assert_array_equal(np.concatenate([prompt.input_ids, answer]), whole.input_ids)
    assert tokenizer.decode(answer) == " evening, and 12345"


@pytest.mark.parametrize("words", [3, 900])
def test_a_token_across_the_answers_beginning_is_refused(tokenizer, works, words):
    text = " ".join(works[0].text.split()[:words])
    _, firsts = tokenizer.encode(text)
    # Inside the last token of several characters.
    token = max(number for number in range(1, len(firsts)) if firsts[number] - firsts[number - 1] > 2)
    cut = int(firsts[token]) - 1
    with pytest.raises(ValueError, match=r"merges the end of the prompt .* with the beginning of the answer"):
        tokenizer.answer(tokenizer.prompt(text[:cut]), text[cut:])


def test_an_empty_answer_is_refused(tokenizer):
    with pytest.raises(ValueError, match="an answer has no text"):
        tokenizer.answer(tokenizer.prompt("a"), "")


def test_what_the_tokenizer_puts_in_front_stands_there(model_folder, tmp_path):
    folder = tmp_path / "bos"
    shutil.copytree(model_folder, folder)
    manifest = json.loads((folder / "longspan.json").read_text())
    manifest["tokenizer"] |= {"adds_bos": True, "bos_token_id": 1}
    (folder / "longspan.json").write_text(json.dumps(manifest))
    tokenizer = PromptTokenizer(folder / "longspan.json")
    prompt = tokenizer.prompt("A river and a stone")
    assert prompt.input_ids[0] == 1
    assert prompt.span(2, 7)[0] >= 1
    assert tokenizer.decode(prompt.input_ids[slice(*prompt.span(2, 7))]).strip() == "river"
    whole = tokenizer.prompt("A river and a stone is")
    np.testing.assert_array_equal([*prompt.input_ids, *tokenizer.answer(prompt, " is")], whole.input_ids)


def test_a_chat_has_the_template_around_it_and_what_begins_the_answer(chatting):
    prompt = chatting.chat("A river and a stone", " It is")
    assert prompt.text == "<s>user: A river and a stone\nmodel: It is"
    assert prompt.input_ids[0] == 1  # by the template, and once
    assert 1 not in prompt.input_ids[1:]
    assert chatting.decode(prompt.input_ids[slice(*prompt.span(2, 7))]).strip() == "river"
    answer = chatting.answer(prompt, " wide")
    np.testing.assert_array_equal(
        np.concatenate([prompt.input_ids, answer]), chatting.encode(prompt.text + " wide")[0]
    )


def test_a_template_that_changes_the_text_or_is_missing_is_refused(tokenizer, model_folder, tmp_path):
    with pytest.raises(ValueError, match="has no chat template; set prompt: base"):
        tokenizer.chat("A river")
    loud = other_folder(
        model_folder,
        tmp_path / "loud",
        tokenizer_config={"chat_template": "{{ messages[0].content | upper }}"},
    )
    with pytest.raises(ValueError, match="changes the text that it is given; set prompt: base"):
        loud.chat("A river")


def test_texts_end_with_what_tokenizer_and_configs_name(model_folder, tmp_path, tokenizer):
    assert tokenizer.end_ids == {2}
    other = other_folder(
        model_folder,
        tmp_path / "ends",
        generation_config={"eos_token_id": [2, 7]},
        config={"eos_token_id": 9},
    )
    assert other.end_ids == {2, 7, 9}

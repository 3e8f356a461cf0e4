from longspan.tokens.spans import token_spans
from longspan.tokens.tokenization import DocumentTokenizer
from tiny_inputs import make_model


def test_tokens_cover_the_text_and_share_the_characters_that_they_split(tmp_path):
    make_model(tmp_path, ["some words of a tale. " * 20])
    text = "words 中文 of é tale 𝄞."
    tokenizer = DocumentTokenizer(tmp_path)
    document = tokenizer.encode(text)
    spans = token_spans(document.char_deltas, document.split_positions)
    assert spans.tolist() == [list(span) for span in tokenizer.tokenizer.encode(text).offsets]
    assert len(document.split_positions) > 0
    assert spans[0, 0] == 0
    assert spans[-1, 1] == len(text)

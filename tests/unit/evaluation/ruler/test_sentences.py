import pytest
from hypothesis import given
from hypothesis import strategies as st

from longspan.evaluation.ruler.sentences import PunktParameters, SentenceSplitter

SPLITTER = SentenceSplitter(
    PunktParameters(
        abbreviations=frozenset({"mr", "u.s", "p.m", "inc"}),
        collocations=frozenset({("b", "smith"), ("##number##", "review")}),
        starters=frozenset({"the"}),
        # In bits: upper case first 2, inside 4; lower case first 16, inside 32.
        orthography={"the": 2 + 32, "it": 2 + 32, "river": 32, "jones": 4, "yet": 2 + 16},
    )
)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("He came. She left! Why? No one knows", ["He came.", "She left!", "Why?", "No one knows"]),
        ("Mr. Jones came.", ["Mr. Jones came."]),
        ("He is from the U.S. The river is deep.", ["He is from the U.S.", "The river is deep."]),
        ("At 3 p.m. it rained.", ["At 3 p.m. it rained."]),
        ("Example-Inc. grew.", ["Example-Inc. grew."]),
        ("So said B. Smith today.", ["So said B. Smith today."]),
        ("So said J. Jones today.", ["So said J. Jones today."]),
        ("No. 3. river bed. 4. The sea.", ["No.", "3. river bed.", "4.", "The sea."]),
        ("See no. 12. Review it.", ["See no.", "12. Review it."]),
        ("Well... river banks. Well... The end.", ["Well... river banks.", "Well...", "The end."]),
        ('"He came." "So be it." (It rained.) On.', ['"He came."', '"So be it."', "(It rained.)", "On."]),
        ("“He came.” “So be it.” On.", ["“He came.”", "“So be it.”", "On."]),
        ("Stop!!! I mean it.", ["Stop!!!", "I mean it."]),
        ("It is 3.5 or 1,000.25 here.", ["It is 3.5 or 1,000.25 here."]),
        ("a.b c", ["a.b c"]),
        ("  He came.  It rained.  ", ["  He came.", "It rained."]),
        ("", []),
        (".", ["."]),
    ],
)
def test_sentences_of(text, sentences):
    assert SPLITTER.split(text) == sentences


@given(
    st.lists(
        st.sampled_from(["Mr.", "The", "river", "J.", "3.", ".", "...", "?!", '"', ")", "b.", "smith", ","])
    )
)
def test_no_character_but_spaces_is_lost(words):
    text = " ".join(words)
    assert "".join("".join(SPLITTER.split(text)).split()) == "".join(text.split())

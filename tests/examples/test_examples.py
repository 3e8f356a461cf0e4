import pytest

from trainer_examples import EXAMPLES, lines_of_code


@pytest.mark.parametrize("name", [path.stem for path in sorted(EXAMPLES.glob("*.py"))])
def test_an_example_is_short(name):
    assert lines_of_code(name) <= 30

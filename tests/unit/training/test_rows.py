from collections import Counter

import pytest

from longspan.training.rows import TrainingRows


class Long:
    data_ids = tuple(f"long_{number}" for number in range(5))

    def __getitem__(self, index):
        return {"lengths": self.document_lengths(index)}

    def document_lengths(self, index):
        return (100,)


class Short(Long):
    """Packed sequences, each of other lengths."""

    data_ids = tuple(f"short_{number}" for number in range(3))

    def document_lengths(self, index):
        return [10 + index, 90 - index]


@pytest.mark.parametrize("count", [1, 3, 12, 31])
@pytest.mark.parametrize("seed", [0, 1])
def test_lengths_are_those_of_the_rows_over_all_epochs(count, seed):
    rows = TrainingRows({"long": Long(), "short": Short()}, {"long": 0.6, "short": 0.4}, count, seed)
    expected = Counter(length for row in range(count) for length in rows[row]["lengths"])
    assert rows.document_lengths() == expected

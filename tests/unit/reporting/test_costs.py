from longspan.reporting.costs import cost_rows

HEAD = "s\th:m:s\tmax_rss\tcpu_time\n"


def test_a_row_sums_the_jobs_of_a_rule_and_takes_the_largest_memory(tmp_path):
    for name, line in {
        "train/main/dense/0.tsv": "10.5\t0:00:10\t700.00\t20.00\n",
        "train/main/dense/1.tsv": "2.0\t0:00:02\t900.00\t3.00\n",
        "report/all.tsv": "0.1\t0:00:00\tNA\tNA\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + line)
    assert list(cost_rows(tmp_path)) == [
        ("report", "1", "0.1", "0.0", ""),
        ("train", "2", "12.5", "23.0", "900"),
    ]


def test_without_jobs_there_is_no_row(tmp_path):
    assert list(cost_rows(tmp_path)) == []

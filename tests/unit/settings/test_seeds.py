from longspan_workflow.settings.seeds import derive_seed


def test_a_seed_depends_on_root_stage_and_name_alone():
    seeds = {
        derive_seed(root, stage, name)
        for root in (0, 1, 10)
        for stage in ("train", "evaluate")
        for name in ("a", "b", "a/0")
    }
    assert len(seeds) == 18
    assert all(0 <= seed < 2**31 for seed in seeds)
    # Where one part ends and the next begins counts.
    assert derive_seed(1, "0train", "a") != derive_seed(10, "train", "a")
    assert derive_seed(0, "a", "bc") != derive_seed(0, "ab", "c")


def test_seeds_stay_what_they_were():
    """Another derivation would sample other windows and make every store and training anew."""
    assert derive_seed(0, "assign_windows", "classics-2k") == 370510664
    assert derive_seed(1, "train", "main/0") == 997458961

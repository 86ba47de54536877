"""A model whose outputs have another shape than the targets is refused with a change that gives theirs."""

import pytest

from nightune.models.errors import InputError


@pytest.mark.parametrize(
    ("shape", "size", "words", "other"),
    [
        ((None, 7, 1), 7, ("Flatten()",), "Dense"),
        ((None, 7, 4), 1, ("Flatten()", "Dense(output_size)"), "position"),
        ((None, 7, 3), 7, ("Dense(output_size)", 'each of 7 positions, set task = "classification"'), "two classes"),
        ((None, None, 3), 7, ("Dense(output_size)",), "position"),
        ((None,), 1, ("Reshape((1,))",), "Flatten"),
        ((None, 5), 7, ("(None, 7)",), "Flatten"),
    ],
)
def test_the_remedy_for_outputs_of_another_shape(
    shape: tuple[int | None, ...], size: int, words: tuple[str, ...], other: str
) -> None:
    import keras

    from nightune.models.networks.fitting_outputs import refuse_other_model

    with pytest.raises(InputError) as caught:
        refuse_other_model("net.py:build", keras.Sequential(), shape, size)
    assert caught.value.key == "model.architecture"
    assert all(word in caught.value.message for word in words)
    assert other not in caught.value.message

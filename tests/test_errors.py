from __future__ import annotations

import inspect
import pickle

import pytest

from volseg import errors

CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_a_volsegerror_and_in_the_drawn_tree(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.VolsegError)
    assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.InputError, 1),
        (errors.AmbiguousError, 1),
        (errors.OutputError, 1),
        (errors.UsageError, 2),
        (errors.ConfigError, 2),
        (errors.PartialError, 3),
    ],
)
def test_exit_codes(kind: type[errors.VolsegError], code: int) -> None:
    assert kind.exit_code == code


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_travel_between_processes(kind: type[errors.VolsegError]) -> None:
    again = pickle.loads(pickle.dumps(kind("scan.nii: is not an image")))  # noqa: S301
    assert type(again) is kind
    assert str(again) == "scan.nii: is not an image"


@pytest.mark.parametrize("kind", [errors.InputError, errors.AmbiguousError, errors.GeometryError])
@pytest.mark.parametrize("text", ["is not an image", "scan.nii: is not an image"])
def test_a_path_stands_once_before_the_message(kind: type[errors.VolsegError], text: str) -> None:
    with pytest.raises(kind) as caught, errors.at("scan.nii"):
        raise kind(text)
    assert type(caught.value) is kind
    assert str(caught.value) == "scan.nii: is not an image"


def test_errors_about_arguments_get_no_path() -> None:
    with pytest.raises(errors.UsageError, match=r"^a wrong flag$"), errors.at("scan.nii"):
        raise errors.UsageError("a wrong flag")

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from volseg.config import PRESETS, AugmentationConfig, Config, Normalisation, load_config, parse_config
from volseg.core.planes import PLANES
from volseg.core.slices import in_plane
from volseg.errors import ConfigError, UsageError


def written(folder: Path, text: str) -> Path:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, *overrides: str) -> list[str]:
    """Lines of the message, the file's name without its folder."""
    with pytest.raises(ConfigError, match=r".") as caught:
        load_config(path, overrides=overrides)
    return str(caught.value).replace(f"{path}", "settings.yaml").splitlines()


def test_every_mistake_is_told_at_once_with_its_line_and_the_nearest_key(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "network:\n  decoder: upsampel\n  widht: 3\nlosss: {}\n\ntraining:\n  epochs: 0\n  seed: x\n"
        "cleanup:\n  liver: {fill_hole: true}\n",
    )
    assert sorted(refusal(path, "network.levels=9", "optimiser.rate=1")) == [
        "--set network.levels=9: network.levels: Input should be less than or equal to 8 (got 9)",
        "--set optimiser.rate=1: optimiser.rate: unknown key; known here: name, learning_rate, betas, weight_decay, "
        "schedule, clip_norm (got 1)",
        "settings.yaml:10: cleanup.liver.fill_hole: unknown key, did you mean 'fill_holes'? (got True)",
        "settings.yaml:2: network.decoder: Input should be 'transpose' or 'upsample' (got 'upsampel')",
        "settings.yaml:3: network.widht: unknown key, did you mean 'width'? (got 3)",
        "settings.yaml:4: losss: unknown key, did you mean 'loss'? (got {})",
        "settings.yaml:7: training.epochs: Input should be greater than or equal to 1 (got 0)",
        "settings.yaml:8: training.seed: Input should be a valid integer, unable to parse string as an integer "
        "(got 'x')",
    ]


def test_keys_inside_a_list_are_explained_by_the_items_keys(tmp_path: Path) -> None:
    path = written(tmp_path, "preparation:\n  normalisation:\n    - {kind: zscore}\n    - {kind: window, lo: 3}\n")
    assert refusal(path) == [
        "settings.yaml:2: preparation.normalisation.1.lo: unknown key, did you mean 'low'? (got 3)"
    ]


@pytest.mark.parametrize("text", ["network: 3", "network: null", "training: [1]"])
def test_a_section_must_be_a_section(tmp_path: Path, text: str) -> None:
    (line,) = refusal(written(tmp_path, text))
    assert line.startswith(f"settings.yaml:1: {text.split(':')[0]}: Input should be a valid dictionary")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("network: [}", r"settings\.yaml: is not YAML: .*line 1, column 11"),
        ("- 1\n- 2\n", r"settings\.yaml: holds list; expected keys and values"),
        (
            "\npreset: pix3pix\n",
            r"settings\.yaml:2: preset is 'pix3pix'; expected one of default, pix2pix, pix2pix-paper",
        ),
        ("preset: [1]\n", r"settings\.yaml:1: preset is \[1\]; expected one of"),
        ("preset:\n", r"settings\.yaml:1: preset is None; expected one of"),
        ("1: 2\n", r"settings\.yaml:1: 1: Keys should be strings"),
    ],
)
def test_files_that_are_no_settings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(written(tmp_path, text))


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a folder; expected a file"):
        load_config(tmp_path)
    binary = tmp_path / "scan.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ConfigError, match=r"scan\.yaml: is not UTF-8 text \(at byte 0\)"):
        load_config(binary)


def test_an_empty_file_is_the_default_preset(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "# nothing yet\n")) == load_config() == load_config(preset="default")


def test_the_file_wins_over_the_preset_and_set_over_both(tmp_path: Path) -> None:
    path = written(tmp_path, "preset: pix2pix\nnetwork: {decoder: upsample, width: 8}\n")
    config = load_config(path, overrides=("network.width=16", "training.epochs=3", "training.epochs = 4"))
    assert config.preset == "pix2pix"
    assert config.network.block == "pix2pix"  # from the preset
    assert config.network.decoder == "upsample"  # from the file
    assert config.network.width == 16  # from --set
    assert config.training.epochs == 4  # the last one


@pytest.mark.parametrize(("preset", "overrides"), [("pix2pix", ()), (None, ("preset=pix2pix",))])
def test_another_preset_than_the_files_is_refused_as_it_would_only_rename(
    tmp_path: Path, preset: str | None, overrides: tuple[str, ...]
) -> None:
    path = written(tmp_path, load_config().to_yaml())
    words = r"preset.pix2pix: but .*settings\.yaml:1 chooses the preset 'default', .*; leave out one of the two"
    with pytest.raises(UsageError, match=words):
        load_config(path, preset=preset, overrides=overrides)
    assert load_config(path, preset="default", overrides=("preset=default",)) == load_config()


def test_a_preset_is_added_to_a_file_that_names_none(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "network: {width: 8}"), preset="pix2pix")
    assert (config.preset, config.network.block, config.network.width) == ("pix2pix", "pix2pix", 8)


@pytest.mark.parametrize("preset", PRESETS)
def test_setting_the_preset_is_the_same_as_choosing_it(tmp_path: Path, preset: str) -> None:
    assert load_config(overrides=(f"preset={preset}",)) == load_config(preset=preset)
    assert load_config(written(tmp_path, f"preset: {preset}")) == load_config(preset=preset)


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("optimiser.learning_rate=1e-3", "optimiser", "learning_rate", 1e-3),
        ("training.epochs=1e2", "training", "epochs", 100),
        ("optimiser.betas=[0.5, 0.9]", "optimiser", "betas", (0.5, 0.9)),
        ("optimiser.clip_norm=null", "optimiser", "clip_norm", None),
        ("augmentation.mirror=true", "augmentation", "mirror", True),
        ("preparation.spacing_mm=[1, 1.5, 3]", "preparation", "spacing_mm", (1, 1.5, 3)),
        ("preparation.planes=[coronal, axial]", "preparation", "planes", ("coronal", "axial")),
        ("training.temperature=1.5", "training", "temperature", 1.5),
        ("preparation.normalisation=[{kind: zscore}]", "preparation", "normalisation", (Normalisation(),)),
    ],
)
def test_values_of_set_are_yaml(override: str, section: str, key: str, value: object) -> None:
    assert getattr(getattr(load_config(overrides=(override,)), section), key) == value


def test_learning_rates_without_a_dot_are_numbers_in_a_file_too(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "optimiser: {learning_rate: 1e-3}")).optimiser.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("network", "--set network: expected key=value, such as network.decoder=upsample"),
        ("network.width=[", r"--set network.width=\[: is not YAML: .*expected"),
        ("=3", "unknown key"),
        ("training.minutes=inf", "training.minutes: Input should be a finite number"),
        ("loss.adversarial_weight=nan", "loss.adversarial_weight: Input should be a finite number"),
        ("preset=other", "--set preset=other: preset is 'other'; expected one of default, pix2pix, pix2pix-paper"),
        ("preset.name=default", "--set preset.name=default: preset is {'name': 'default'}; expected one of"),
        ("optimiser.betas=[0.9, 1.0]", r"optimiser.betas.1: Input should be less than 1 \(got 1.0\)"),
        ("optimiser.betas=[-0.1, 0.9]", r"optimiser.betas.0: Input should be greater than or equal to 0 \(got -0.1\)"),
        ("preparation.planes=[axial, sagittal, axial]", "preparation.planes: .*a plane is named twice"),
        ("preparation.planes=[]", "preparation.planes: .*at least 1 item"),
        (
            "preparation.planes=[axial, oblique]",
            "preparation.planes.1: Input should be 'axial', 'coronal' or 'sagittal'",
        ),
        ("preparation.spacing_mm=[1, 1]", "preparation.spacing_mm.2: Field required"),
        ("training.slice_size=[64, 64]", "training.slice_size.2: Field required"),
        (
            "preparation.spacing_mm=[1, 1, 1e-9]",
            r"preparation.spacing_mm.2: .*greater than or equal to (1e-06|0.000001)",
        ),
        ("network.width=100000", r"network.width: .*less than or equal to 8192 \(got 100000\)"),
        ("augmentation.blur=1e9", "augmentation.blur: .*less than or equal to 100"),
        ("training.seed=-1", "training.seed: .*greater than or equal to 0"),
        ("training.slice_size=[8, 8, 1000000000]", "training.slice_size.2: .*less than or equal to 16384"),
        ("training.temperature=0", r"training.temperature: Input should be greater than or equal to 0.01 \(got 0\)"),
    ],
)
def test_impossible_overrides_are_refused(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=(override,))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"low": -100, "high": 400, "mean": 0}, "kind 'window' needs low, high, mean and std"),
        ({}, "kind 'window' needs low, high, mean and std"),
        ({"low": 400, "high": -100, "mean": 0, "std": 1}, "low 400 must be below high -100"),
        ({"low": 5, "high": 5, "mean": 0, "std": 1}, "low 5 must be below high 5"),
        ({"low": -100, "high": 400, "mean": 0, "std": 1e-9}, r"the numbers make values of 4e\+11; expected less than"),
        ({"low": -1e300, "high": 1e300, "mean": 0, "std": 1}, r"the numbers make values of 1e\+300"),
        ({"low": -100, "high": 400, "mean": 0, "std": 0}, "std: Input should be greater than 0"),
    ],
)
def test_a_window_needs_its_numbers(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({"preparation": {"normalisation": [{"kind": "window", **settings}]}})


def test_a_plan_comes_back_as_it_was_written(tmp_path: Path) -> None:
    plan = parse_config(
        {
            "preset": "pix2pix",
            "preparation": {
                "planes": ["sagittal", "axial"],
                "spacing_mm": [0.1, 1 / 3, 2.5],
                "normalisation": [
                    {"kind": "window", "low": -100, "high": 400.5, "mean": 1e-7, "std": 12},
                    {"kind": "zscore"},
                ],
                "neighbours": 0,
            },
            "network": {"block": "pix2pix", "levels": 6, "norm": "batch", "dropout": 0.5},
            "optimiser": {"clip_norm": None, "learning_rate": 1e-5},
            "training": {"slice_size": [48, 64, 32], "minutes": 2.5, "temperature": 1.25},
            "cleanup": {"liver: left": {"largest_component": True}, "on": {"minimum_mm3": 30}},
        }
    )
    assert load_config(written(tmp_path, plan.to_yaml())) == plan


def test_what_an_old_plan_does_not_say_is_as_it_was_and_not_as_in_the_preset(tmp_path: Path) -> None:
    """Discriminators saw probabilities before there was a setting for it; the preset of today shows them labels."""
    plan = load_config(preset="pix2pix", overrides=("network.levels=5",)).model_dump(mode="json")
    del plan["discriminator"]["sees"]
    path = written(tmp_path, yaml.safe_dump(plan))
    run = load_config(path)
    assert (run.preset, run.discriminator.sees, run.discriminator.width) == ("pix2pix", "probabilities", 32)
    assert load_config(path, overrides=("training.minutes=5",), preset="pix2pix").discriminator.sees == "probabilities"
    assert load_config(path, start=run) == load_config(start=run) == run
    del plan["discriminator"], plan["cleanup"]  # of a version without these sections
    assert load_config(written(tmp_path, yaml.safe_dump(plan))).discriminator == Config().discriminator


def test_a_few_settings_of_a_preset_are_no_plan(tmp_path: Path) -> None:
    path = written(tmp_path, "preset: pix2pix\nnetwork: {levels: 5}\ndiscriminator: {width: 16}\n")
    assert load_config(path).discriminator.sees == "labels"


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_come_back_as_they_were_written(tmp_path: Path, preset: str) -> None:
    config = load_config(preset=preset)
    assert config.preset == preset
    assert load_config(written(tmp_path, config.to_yaml())) == config


def test_the_pix2pix_preset_has_the_published_block_and_an_adversarial_term() -> None:
    config = load_config(preset="pix2pix")
    assert config.network.block == "pix2pix"
    assert config.loss.adversarial_weight > 0
    assert config.discriminator.sees == "labels"
    assert config.training.epochs is None  # as long as the default, not the paper's 200 epochs


def test_the_paper_preset_is_the_papers() -> None:
    config = load_config(preset="pix2pix-paper")
    assert (config.network.width, config.network.max_width, config.network.dropout) == (64, 512, 0.5)
    assert (config.loss.reconstruction, config.loss.reconstruction_weight, config.loss.adversarial_weight) == (
        "l1",
        100,
        1,
    )
    assert (config.optimiser.name, config.optimiser.learning_rate, config.optimiser.betas) == (
        "adam",
        2e-4,
        (0.5, 0.999),
    )
    assert (config.optimiser.weight_decay, config.optimiser.clip_norm) == (0, None)
    assert config.discriminator.max_layers == 3  # 70 x 70 pixels
    assert config.discriminator.sees == "probabilities"
    assert config.preparation.neighbours == 0


def test_settings_never_change() -> None:
    with pytest.raises(ValidationError, match="Instance is frozen"):
        Config().network.width = 3  # type: ignore[misc]


def test_no_part_of_a_message_is_lost_without_places() -> None:
    with pytest.raises(ConfigError, match=r"settings: network\.width: .*greater than or equal to 1 \(got 0\)"):
        parse_config({"network": {"width": 0}})


@pytest.mark.parametrize("mirror", [True, False])
def test_only_slices_with_a_left_and_a_right_are_mirrored(mirror: bool) -> None:
    config = Config(augmentation=AugmentationConfig(mirror=mirror, rotation_degrees=7))
    for plane in PLANES:
        found = config.augmentation_at(0.5, plane)
        # The first axis of a slice, which augmentation mirrors, is the patient's left-right axis.
        assert found.mirror == (mirror and in_plane(plane)[0] == 0)
        assert found.model_copy(update={"mirror": mirror}) == config.augmentation  # nothing else differs


def test_changes_shrink_to_nothing_over_the_last_share_of_a_training() -> None:
    config = Config(augmentation=AugmentationConfig(rotation_degrees=20, noise=0.4, mirror=True, fade=0.25))
    full, half, none = (config.augmentation_at(progress, "axial") for progress in (0.75, 0.875, 1.0))
    assert full == config.augmentation
    assert (half.rotation_degrees, half.noise) == pytest.approx((10, 0.2))
    assert half.mirror
    assert none.mirror  # a mirrored slice is as true as the slice
    assert not any(value for name, value in none.model_dump().items() if name not in ("mirror", "fade"))
    constant = Config(augmentation=AugmentationConfig(fade=0))
    assert constant.augmentation_at(1.0, "axial") == constant.augmentation


@pytest.mark.parametrize("kind", ["zscore", "zscore_unclipped"])
def test_zscore_takes_no_numbers(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"kind '{kind}' takes no numbers"):
        load_config(overrides=(f"preparation.normalisation=[{{kind: {kind}, low: 3}}]",))

"""A device is found by a name, by a driver's name, or by memory alone."""

from __future__ import annotations

import pytest

from toolkit.errors import UsageError
from toolkit.planning.gpu import GIB, billions, card_of, cards, gib, lacks_bf16, named


@pytest.mark.parametrize(
    ("text", "name", "usable_gib"),
    [
        ("RTX 4090", "RTX 4090", 23.52),
        ("rtx4090", "RTX 4090", 23.52),
        ("NVIDIA GeForce RTX 4090", "RTX 4090", 23.52),
        ("4090D", "RTX 4090D", 23.52),
        ("A100-80GB", "A100 80GB SXM", 79.15),
        ("H20", "H20 96GB", 95.09),
        ("L40S", "L40S", 44.39),
        ("MI300X", "MI300X", 191.69),
    ],
)
def test_a_card_is_found_however_it_is_written(text: str, name: str, usable_gib: float) -> None:
    device = named(text)
    assert (device.name, device.usable_bytes) == (name, int(usable_gib * GIB))


def test_a_name_that_several_cards_share_means_the_smallest_and_says_so() -> None:
    device = named("910B")
    assert (device.kind, device.name) == ("npu", "Ascend 910B (32GB class)")
    assert "others: Ascend 910B (64GB class)" in device.source


@pytest.mark.parametrize("text", ["24GiB", "24 GB", "24gb", "24g"])
def test_memory_alone_is_a_cuda_device_with_an_assumption(text: str) -> None:
    device = named(text)
    assert (device.kind, device.total_bytes, device.bf16) == ("cuda", 24 * GIB, True)
    assert device.usable_bytes < device.total_bytes
    assert "assumed" in device.source


def test_cpu_is_this_machine() -> None:
    device = named("CPU")
    assert device.kind == "cpu"
    assert 0 < device.usable_bytes <= device.total_bytes


def test_an_unknown_card_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'RTX 4090'"):
        named("RTX 4099")


@pytest.mark.parametrize("text", ["", "0GiB", "a good one"])
def test_a_name_that_is_no_card_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        named(text)


@pytest.mark.parametrize(
    ("driver_name", "mebibytes", "row"),
    [
        ("NVIDIA A100-SXM4-80GB", 81920, "A100 80GB SXM"),
        ("NVIDIA A100-SXM4-40GB", 40960, "A100 40GB"),
        ("NVIDIA A100-PCIE-40GB", 40960, "A100 40GB"),
        ("NVIDIA H100 80GB HBM3", 81559, "H100 SXM 80GB"),
        ("NVIDIA H100 PCIe", 81559, "H100 PCIe 80GB"),
        ("NVIDIA H100 NVL", 95830, "H100 NVL 94GB"),
        ("NVIDIA GeForce RTX 4090 D", 24564, "RTX 4090D"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16376, "RTX 4070 Ti Super"),
        ("NVIDIA GeForce RTX 3080", 12288, "RTX 3080 12GB"),
        ("Tesla T4", 15360, "T4"),
        ("Tesla V100-SXM2-16GB", 16160, "V100 16GB"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "RTX 6000 Ada"),
        ("Ascend910B2", 65536, "Ascend 910B (64GB class)"),
    ],
)
def test_a_drivers_name_finds_its_row(driver_name: str, mebibytes: int, row: str) -> None:
    card = card_of(driver_name, mebibytes * 2**20)
    assert card is not None
    assert card.name == row


def test_a_card_that_is_not_in_the_table_has_no_row() -> None:
    assert card_of("NVIDIA GeForce GTX 1080 Ti", 11264 * 2**20) is None


def test_generations_before_ampere_lack_bfloat16() -> None:
    old = ("NVIDIA GeForce GTX 1080 Ti", "NVIDIA GeForce RTX 2080 Ti", "Tesla P100-PCIE-16GB", "Quadro RTX 8000")
    new = ("NVIDIA GeForce RTX 5090", "NVIDIA RTX A2000", "NVIDIA H800", "NVIDIA RTX 4000 Ada Generation")
    assert all(lacks_bf16(name) for name in old)
    assert not any(lacks_bf16(name) for name in new)


@pytest.mark.parametrize("card", cards(), ids=lambda card: card.name)
def test_a_row_of_the_table_is_plausible_and_found_by_its_own_name(card: object) -> None:
    from toolkit.planning.gpu import Card

    assert isinstance(card, Card)
    assert card.kind in ("cuda", "rocm", "npu", "mps")
    assert 0.6 * card.memory_gib < card.usable_gib <= card.memory_gib
    assert card.bf16_tflops > 0
    assert card.bandwidth_gb_s > 0
    assert named(card.name).usable_bytes == int(card.usable_gib * GIB)


def test_sizes_read_as_people_say_them() -> None:
    assert (gib(15.25 * GIB), gib(20 * 2**20), billions(7_615_616_512), billions(494_032_768)) == (
        "15.2 GiB",
        "20 MiB",
        "7.6 B",
        "494.0 M",
    )


def test_flash_attention_is_a_matter_of_the_generation() -> None:
    assert [named(name).flash_attention for name in ("T4", "A800", "H20", "24GiB", "MI300X", "910B")] == [
        False,
        True,
        True,
        True,
        True,
        False,
    ]


def test_boards_with_nvlink_reach_their_neighbours_faster() -> None:
    links = [named(name).link_bytes for name in ("H100 SXM 80GB", "A800", "H100 PCIe 80GB", "RTX 4090")]
    assert links == [450e9, 200e9, 64e9, 32e9]

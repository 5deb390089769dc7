"""Checkpoints as they lie on people's disks: of old versions, beside a file system's own files, unpacked by mistake."""

import collections
import zipfile

import pytest
import torch
from networks import toy_generator, toy_images, toy_unet

from ganprune.deploy.facts import Facts
from ganprune.deploy.plain import write_plain
from ganprune.errors import UserError
from ganprune.models.checkpoint import load_cyclegan
from ganprune.models.options import CheckpointOptions


def images_of(path, real, **options):
    with torch.no_grad():
        return load_cyclegan(path, options=CheckpointOptions(**options))["A2B"].generator(real)


@pytest.mark.parametrize("make", [toy_generator, toy_unet])
def test_batch_norms_that_count_no_batches_are_read(tmp_path, make):
    network, real = make(norm="batch"), toy_images(1, dtype=torch.float32)
    state = {key: tensor for key, tensor in network.state_dict().items() if "num_batches_tracked" not in key}
    torch.save(state, tmp_path / "latest_net_G.pth")
    assert torch.equal(images_of(tmp_path, real), network(real))


def test_what_macos_keeps_beside_files_is_no_checkpoint(tmp_path):
    for seed, side in enumerate("AB"):
        torch.save(toy_generator(seed=seed).state_dict(), tmp_path / f"latest_net_G_{side}.pth")
        (tmp_path / f"._latest_net_G_{side}.pth").write_bytes(b"\0\5\x16\7" + bytes(99))
    cyclegan = load_cyclegan(tmp_path)
    assert list(cyclegan) == ["A2B", "B2A"] and not [note for note in cyclegan.notes if "._" in note]


def test_an_unpacked_file_is_named_with_how_to_pack_it_again(tmp_path):
    network, real, folder = toy_generator(), toy_images(1, dtype=torch.float32), tmp_path / "latest_net_G"
    torch.save(network.state_dict(), tmp_path / "whole.pth")
    with zipfile.ZipFile(tmp_path / "whole.pth") as whole:
        whole.extractall(tmp_path)
    (tmp_path / "whole.pth").unlink()
    (tmp_path / "whole").rename(folder)
    for path in (tmp_path, folder, folder / "data.pkl"):
        with pytest.raises(
            UserError, match=r"latest_net_G \(an unpacked PyTorch file\).* pack it again: python -m "
        ) as e:
            load_cyclegan(path)
    zipfile.main(str(e.value).partition(" -m zipfile ")[2].split())
    assert torch.equal(images_of(tmp_path / "latest_net_G.pth", real), network(real))


def test_iterations_are_asked_for_like_epochs(tmp_path):
    for blocks, epoch in enumerate(("latest", "5", "iter_5000", "iter_10000")):
        torch.save(toy_generator(blocks=blocks).state_dict(), tmp_path / f"{epoch}_net_G_A.pth")
    asked = {None: 0, "5": 1, "5000": 2, "iter_5000": 2, "10000": 3}
    found = {e: load_cyclegan(tmp_path, options=CheckpointOptions(epoch=e))["A2B"].generator for e in asked}
    assert {epoch: network.config.blocks for epoch, network in found.items()} == asked


def test_whether_the_image_is_added_is_for_the_user_to_say(tmp_path):
    network, real = toy_generator(), toy_images(1, dtype=torch.float32)
    torch.save(network.state_dict(), tmp_path / "netG_A2B.pth")
    assert any("resnet:residual=true" in line for line in load_cyclegan(tmp_path).taken_for)
    said = load_cyclegan(tmp_path, options=CheckpointOptions(generator="resnet:residual=true"))
    assert not any("residual" in line for line in said.taken_for)
    generator = said["A2B"].generator
    assert torch.equal(generator(real), (real + network(real)).clamp(-1, 1))
    with pytest.raises(UserError, match=r"format torch: .* adds what it makes to the image.* --format onnx, or pt2"):
        write_plain(generator, tmp_path / "A2B", Facts.of(generator, "A2B", "original", (16, 16), 4), {})


@pytest.mark.parametrize(
    "thing", [collections.defaultdict(list), collections.deque([1.0])], ids=["defaultdict", "deque"]
)
def test_collections_beside_tensors_are_named_with_how_to_leave_them_out(tmp_path, monkeypatch, thing):
    monkeypatch.chdir(tmp_path)
    torch.save({"netG_A2B": toy_generator().state_dict(), "losses": thing}, "all.pth")
    with pytest.raises(UserError, match=r"it holds collections\.d.* save its tensors alone: ") as error:
        load_cyclegan(tmp_path / "all.pth")
    exec(str(error.value).partition("save its tensors alone: ")[2])
    assert list(load_cyclegan(tmp_path / "clean.pth")) == ["A2B"]

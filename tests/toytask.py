"""A toy task for whole runs: a saved CycleGAN, settings that take a second, and what of a run must be reproducible."""

import json
import shutil

from networks import SIZE, toy_cyclegan

from ganprune.commands.evolve import compress
from ganprune.evolution.individual import unpack_bits
from ganprune.models.checkpoint import save_cyclegan
from ganprune.settings.evolve import make_settings

QUICK = {
    "population": 3, "generations": 2, "algorithm": "ga:reproduction=0.1,crossover=0.4,mutation=0.5",
    "finetune_steps": 4, "finetune_batch": 2, "calibration_images": 4, "precision": "float32",
}  # fmt: skip
FILES = {
    "A2B.json", "A2B.safetensors", "B2A.json", "B2A.safetensors", "config.json", "evaluations.jsonl", "logbook.jsonl",
    "samples.png", "state.json", "summary.json",
}  # fmt: skip


def make_checkpoint(folder):
    """Save the toy CycleGAN and return its folder."""
    save_cyclegan(toy_cyclegan(), folder)
    return folder


def toy_run(
    checkpoint,
    images,
    out,
    reporter=None,
    size=SIZE,
    *,
    networks=None,
    workers=1,
    cluster=None,
    dry_run=False,
    **options,
):
    """Compress the toy CycleGAN with the quick preset at toy size; without a dry run, since most tests need none."""
    settings = make_settings("quick", **{**QUICK, **options})
    machine = {"device": "cpu", "threads": 1, "networks": networks, "workers": workers, "cluster": cluster}
    machine |= {"reporter": reporter, "dry_run": dry_run}
    return compress(checkpoint, images, out=out, settings=settings, size=size, **machine)


def outcome(run):
    """Everything of a run that is the same whenever its seed is: files' bytes, and JSON without what was timed."""
    files = {name: run.path(name).read_bytes() for name in FILES - {"config.json", "logbook.jsonl", "state.json"}}
    summary = json.loads(files.pop("summary.json"))
    for name in ("seconds", "seconds_search"):
        summary.pop(name)
    for side in summary["sides"].values():
        side.pop("latency_ms")
    log = [{key: value for key, value in line.items() if key != "timing"} for line in run.read_jsonl("logbook.jsonl")]
    state = run.read_json("state.json")
    state.pop("timing")
    return {**files, "summary": summary, "logbook": log, "state": state}


def elites(run):
    """The bits of both elites, as text of 0 and 1."""
    saved = {side: unpack_bits(run.read_json(f"{side}.json")["bits"]) for side in ("A2B", "B2A")}
    return {side: "".join(map(str, bits)) for side, bits in saved.items()}


def contents(folder):
    """Every path below a folder with the bytes of its files: to see that nothing was written."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def copy_images(source, target):
    """Copy an image folder, to damage it."""
    shutil.copytree(source, target)
    return target

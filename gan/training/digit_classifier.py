"""Trains the digit classifier that judges drawn digits: `python -m gan.training.digit_classifier`.

A minute on one core. The file it writes is bundled, so every machine judges with the same one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save
from torch.nn import functional as F

from gan.features import DIGITS_FILE, DigitClassifier, as_images
from gan.files import write_atomic
from gan.training.data import load_dataset, split

EPOCHS, BATCH, SEED = 40, 64, 0
LARGEST_SHIFT = 3  # pixels


def train() -> tuple[DigitClassifier, float]:
    """→ the classifier, and its accuracy on the tenth of the digits that it never saw."""
    dataset = load_dataset("digits")
    assert dataset.labels is not None
    images, labels = as_images(dataset.images), torch.from_numpy(dataset.labels)
    seen, kept_back = (torch.from_numpy(indices) for indices in split(dataset))
    torch.manual_seed(SEED)
    network = DigitClassifier()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    steps = EPOCHS * (len(seen) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        picks = seen[torch.randint(len(seen), (BATCH,))]
        loss = F.cross_entropy(network(varied(images[picks])), labels[picks], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        right = network(images[kept_back]).argmax(dim=1) == labels[kept_back]
    return network, float(right.float().mean())


def varied(images: torch.Tensor) -> torch.Tensor:
    """Each picture turned by up to 12°, sized by up to 12 %, moved by up to 3 px."""
    n, size = len(images), images.shape[-1]
    angle = (torch.rand(n) * 2 - 1) * 0.2
    scale = 1 + (torch.rand(n) * 2 - 1) * 0.12
    shift = (torch.rand(n, 2) * 2 - 1) * LARGEST_SHIFT * 2 / size
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1  # outside is black: −1


if __name__ == "__main__":
    torch.set_num_threads(1)  # sums in another order would give another file
    trained, accuracy = train()
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else DIGITS_FILE
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, save(trained.state_dict(), {"held_out_accuracy": f"{accuracy:.4f}"}))
    sys.stdout.write(f"{out.name}: {accuracy:.2%} of the held-out digits recognised\n")

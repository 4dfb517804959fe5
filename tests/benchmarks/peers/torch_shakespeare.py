#!/usr/bin/env python3
"""nanoGPT's CPU recipe for character-level Tiny Shakespeare in eager PyTorch, as configs/train/shakespeare.jsonc has it.

    torch_shakespeare.py TEXT_FILE PRESET ITERATIONS THREADS

Prints the validation loss over the whole held-out tenth and the seconds of training.
"""

import math
import sys
import time
from pathlib import Path

import torch
from torch_model import LanguageModel, Shape, adamw, train_step

BLOCK_SIZE, BATCH, WARMUP, LEARNING_RATE, MIN_LR = 64, 12, 100, 1e-3, 1e-4


def learning_rate(iteration, iterations):
    if iteration < WARMUP:
        return LEARNING_RATE * (iteration + 1) / (WARMUP + 1)
    progress = (iteration - WARMUP) / max(iterations - WARMUP, 1)
    return MIN_LR + 0.5 * (1 + math.cos(math.pi * progress)) * (LEARNING_RATE - MIN_LR)


@torch.no_grad()
def validation_loss(model, tokens):
    windows = (len(tokens) - 1) // BLOCK_SIZE
    inputs = tokens[: windows * BLOCK_SIZE].view(windows, BLOCK_SIZE)
    targets = tokens[1 : windows * BLOCK_SIZE + 1].view(windows, BLOCK_SIZE)
    losses = [model(inputs[i : i + BATCH], targets[i : i + BATCH]) * len(inputs[i : i + BATCH]) for i in range(0, windows, BATCH)]
    return (sum(losses) / windows).item()


def main():
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    preset, iterations, threads = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    torch.manual_seed(1337)
    characters = {character: index for index, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([characters[character] for character in text])
    split = int(0.9 * len(tokens))
    model = LanguageModel(Shape(preset, 4, 4, 128, BLOCK_SIZE, len(characters), 384, tied=preset == "gpt2"))
    optimizer = adamw(model, LEARNING_RATE, beta2=0.99)
    start = time.perf_counter()
    for iteration in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(iteration, iterations)
        first = torch.randint(split - BLOCK_SIZE - 1, (BATCH,))
        window = torch.stack([tokens[i : i + BLOCK_SIZE + 1] for i in first])
        train_step(model, optimizer, window[:, :-1], window[:, 1:])
    seconds = time.perf_counter() - start
    print(f"validation loss {validation_loss(model, tokens[split:]):.4f}, {seconds:.1f} s of training")


if __name__ == "__main__":
    main()

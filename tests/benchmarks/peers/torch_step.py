#!/usr/bin/env python3
"""Times training steps of eager PyTorch: "step MILLISECONDS LOSS" per step, the loss before the update.

    torch_step.py PRESET N_EMBD N_LAYER N_HEAD INTERMEDIATE_SIZE BLOCK_SIZE BATCH VOCAB STEPS THREADS
"""

import sys
import time

import torch
from torch_model import LanguageModel, Shape, adamw, train_step


def main():
    preset = sys.argv[1]
    n_embd, n_layer, n_head, intermediate_size, block_size, batch, vocab, steps, threads = map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    torch.manual_seed(1337)
    shape = Shape(preset, n_layer, n_head, n_embd, block_size, vocab, intermediate_size)
    model = LanguageModel(shape)
    optimizer = adamw(model, 1e-4)
    for _ in range(steps):
        text = torch.randint(vocab, (batch, block_size + 1))
        start = time.perf_counter()
        loss = train_step(model, optimizer, text[:, :-1], text[:, 1:]).item()
        print(f"step {1e3 * (time.perf_counter() - start):.3f} {loss:.6f}", flush=True)


if __name__ == "__main__":
    main()

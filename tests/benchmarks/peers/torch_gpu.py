#!/usr/bin/env python3
"""Attention of flash-attn and PyTorch, and products and training steps of PyTorch, on a GPU, for bench_gpu.py.

Reads {"effort", "device", "attention": [shape...], "gemm": [product...], "step": [run...]} as JSON from standard input, each
as the rows of bench_gpu_attention, _gemm and _step, and prints {"versions", "attention", "gemm", "step", "skipped"}. Times are medians over
batches of calls that are waited for together, as in the programs themselves. On device "cpu" it shows that it runs.
"""

import json
import math
import statistics
import sys
import time

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_model import LanguageModel, Shape, adamw, train_step

try:
    import flash_attn
    from flash_attn import flash_attn_func
except ImportError as error:
    flash_attn, why_no_flash_attn = None, str(error)

BATCHES = {"full": (9, 0.03), "quick": (5, 0.01), "smallest": (1, 0.0)}
SDPA = {"PyTorch flash": SDPBackend.FLASH_ATTENTION, "PyTorch cuDNN": SDPBackend.CUDNN_ATTENTION, "PyTorch math": SDPBackend.MATH}


class Timer:
    def __init__(self, effort, device):
        self.batches, self.seconds = BATCHES[effort]
        self.synchronize = torch.cuda.synchronize if device.startswith("cuda") else lambda: None

    def batch(self, work, calls):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        self.synchronize()
        return (time.perf_counter() - start) / calls

    def ms(self, work):
        warm_up = min(self.batch(work, 1) for _ in range(3))
        calls = max(1, math.ceil(self.seconds / warm_up))
        return 1e3 * statistics.median(self.batch(work, calls) for _ in range(self.batches))


def attention_of(name, shape):
    """A function of q, k, v [batch, sequence, heads, head_dim]."""
    if name == "flash-attn":
        return lambda q, k, v: flash_attn_func(q, k, v, causal=shape["causal"])

    def run(q, k, v):
        with sdpa_kernel(SDPA[name]):
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            return F.scaled_dot_product_attention(q, k, v, is_causal=shape["causal"]).transpose(1, 2)

    return run


def time_attention(name, shape, timer, device):
    B, S, H, D = shape["batch"], shape["sequence_length"], shape["heads"], shape["head_dim"]
    q, k, v = (torch.randn(B, S, H, D, dtype=torch.bfloat16, device=device, requires_grad=True) for _ in range(3))
    d_o = torch.randn(B, S, H, D, dtype=torch.bfloat16, device=device)
    run = attention_of(name, shape)
    with torch.no_grad():
        forward = timer.ms(lambda: run(q, k, v))
    o = run(q, k, v)
    backward = timer.ms(lambda: torch.autograd.grad(o, (q, k, v), d_o, retain_graph=True))
    flops = 4 * B * H * S * S * D * (0.5 if shape["causal"] else 1)
    return {
        "backend": name, "head_dim": D, "causal": shape["causal"], "sequence_length": S, "batch": B, "heads": H,
        "forward_ms": forward, "backward_ms": backward,
        "forward_teraflops": flops / forward * 1e-9, "backward_teraflops": 2.5 * flops / backward * 1e-9,
        "teraflops": 3.5 * flops / (forward + backward) * 1e-9,
    }  # fmt: skip


def time_all_attention(request, timer, skipped):
    shapes = {json.dumps([row[key] for key in ("head_dim", "causal", "sequence_length", "batch", "heads")]): row
              for row in request["attention"]}  # fmt: skip
    rows = []
    for name in ("flash-attn", *SDPA):
        if name == "flash-attn" and flash_attn is None:
            skipped.append({"name": name, "reason": why_no_flash_attn})
            continue
        reasons = set()
        for shape in shapes.values():
            try:
                rows.append(time_attention(name, shape, timer, request["device"]))
            except RuntimeError as error:  # no kernel, or out of memory
                reasons.add(str(error).strip().splitlines()[0])
        skipped += [{"name": name, "reason": f"at some shapes: {reason}"} for reason in sorted(reasons)]
    return rows


def time_product(row, timer, device):
    dtype = torch.bfloat16 if row["dtype"] == "bf16" else torch.float32
    x = torch.randn(row["tokens"], row["in"], dtype=dtype, device=device)
    w = torch.randn(row["out"], row["in"], dtype=dtype, device=device)
    y = torch.randn(row["tokens"], row["out"], dtype=dtype, device=device)
    work = {
        "forward": lambda: torch.matmul(x, w.T, out=y),
        "input_gradient": lambda: torch.matmul(y, w, out=x),
        "weight_gradient": lambda: torch.matmul(y.T, x, out=w),
    }
    return {"name": row["name"], "ms": timer.ms(work[row["direction"]])}


def time_all_products(request, timer, skipped):
    rows = []
    for row in request["gemm"]:
        try:
            rows.append(time_product(row, timer, request["device"]))
        except RuntimeError as error:  # out of memory
            skipped.append({"name": f"PyTorch {row['name']}", "reason": str(error).strip().splitlines()[0]})
    return rows


STEPS = {"full": (5, 20), "quick": (3, 8), "smallest": (1, 1)}  # of warm-up, timed


def time_step(name, row, effort, device):
    """fp32 weights and moments, products and attention in bf16 by autocast, fused AdamW; one micro-batch per step."""
    sizes = row["sizes"]
    shape = Shape(sizes["preset"], sizes["n_layer"], sizes["n_head"], sizes["n_embd"], row["sequence_length"],
                  sizes["vocab_size"], sizes["intermediate_size"], sizes["tied"], sizes["n_kv_head"])  # fmt: skip
    with torch.device(device):
        model = LanguageModel(shape)
    optimizer = adamw(model, 1e-4)
    run = torch.compile(model) if name == "PyTorch compiled" else model
    tokens = torch.randint(sizes["vocab_size"], (row["batch"], row["sequence_length"] + 1), device=device)
    warm_up, timed = STEPS[effort]
    seconds = []
    for step in range(warm_up + timed):
        start = time.perf_counter()
        with torch.autocast(device.partition(":")[0], dtype=torch.bfloat16):
            loss = train_step(run, optimizer, tokens[:, :-1], tokens[:, 1:])
        loss.item()
        if step >= warm_up:
            seconds.append(time.perf_counter() - start)
    ms = 1e3 * statistics.median(seconds)
    on_gpu = device.startswith("cuda")
    return {
        "model": row["model"], "backend": name, "batch": row["batch"], "sequence_length": row["sequence_length"], "ms": ms,
        "tokens_per_second": 1e3 * row["batch"] * row["sequence_length"] / ms,
        "peak_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
    }  # fmt: skip


def time_all_steps(request, skipped):
    """Eager at every batch size, compiled at the largest that eager can run: compiling takes up to minutes."""
    runs = {(row["model"], row["batch"]): row for row in request["step"] if "sizes" in row}
    rows = []
    for model in dict.fromkeys(model for model, _ in runs):
        fits = None
        for row in sorted((row for key, row in runs.items() if key[0] == model), key=lambda row: row["batch"]):
            fits = attempt_step("PyTorch eager", row, request, rows, skipped) or fits
        if fits and request["effort"] != "smallest":
            attempt_step("PyTorch compiled", fits, request, rows, skipped)
    return rows


def attempt_step(name, row, request, rows, skipped):
    """The row, when it could be timed."""
    try:
        rows.append(time_step(name, row, request["effort"], request["device"]))
        return row
    except Exception as error:  # out of memory; a compiler that is not there has exceptions of its own
        skipped.append({"name": f"{name} {row['model']}/{row['batch']}", "reason": (str(error).strip() or repr(error)).splitlines()[0]})
        return None
    finally:
        if request["device"].startswith("cuda"):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def main():
    request = json.load(sys.stdin)
    device = request["device"]
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    torch.backends.cuda.matmul.allow_tf32 = True
    timer = Timer(request["effort"], device)
    skipped = []
    attention = time_all_attention(request, timer, skipped)
    with torch.no_grad():
        gemm = time_all_products(request, timer, skipped)
    step = time_all_steps(request, skipped)
    versions = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    if flash_attn is not None:
        versions += f", flash-attn {flash_attn.__version__}"
    json.dump({"versions": versions, "attention": attention, "gemm": gemm, "step": step, "skipped": skipped}, sys.stdout)


if __name__ == "__main__":
    main()

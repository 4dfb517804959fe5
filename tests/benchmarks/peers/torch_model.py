"""GPT-2 and LLaMA as one writes them in eager PyTorch: what our trainer is timed and compared against.

The same models as presets gpt2 (LayerNorm without bias, exact GELU, learned positions) and llama (RMSNorm, half-split
rotary positions, SwiGLU) of `train`, initialised the same way.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class Shape:
    preset: str
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    vocab_size: int
    intermediate_size: int = 0
    tied: bool = True
    n_kv_head: int = 0  # 0: as many as n_head


def rotary_tables(length, head_dim, theta=10000.0):
    frequency = theta ** (-torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.outer(torch.arange(length), frequency)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.head_dim = shape.n_embd // shape.n_head
        self.grouped = shape.n_kv_head not in (0, shape.n_head)
        kv_width = self.head_dim * (shape.n_kv_head or shape.n_head)
        self.widths = (shape.n_embd, kv_width, kv_width)
        self.qkv = nn.Linear(shape.n_embd, sum(self.widths), bias=False)
        self.out = nn.Linear(shape.n_embd, shape.n_embd, bias=False)

    def forward(self, x, tables):
        B, S, H = x.shape
        q, k, v = (part.view(B, S, -1, self.head_dim).transpose(1, 2) for part in self.qkv(x).split(self.widths, dim=2))
        if tables is not None:
            q, k = rotate(q, *tables), rotate(k, *tables)
        grouped = {"enable_gqa": True} if self.grouped else {}  # PyTorch before 2.5 has no such argument
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, **grouped)
        return self.out(y.transpose(1, 2).reshape(B, S, H))


class StandardFfn(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.up = nn.Linear(shape.n_embd, 4 * shape.n_embd, bias=False)
        self.down = nn.Linear(4 * shape.n_embd, shape.n_embd, bias=False)

    def forward(self, x):
        return self.down(F.gelu(self.up(x)))


class SwigluFfn(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.gate = nn.Linear(shape.n_embd, shape.intermediate_size, bias=False)
        self.up = nn.Linear(shape.n_embd, shape.intermediate_size, bias=False)
        self.down = nn.Linear(shape.intermediate_size, shape.n_embd, bias=False)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    def __init__(self, shape):
        super().__init__()
        llama = shape.preset == "llama"
        norm = nn.RMSNorm if llama else lambda size: nn.LayerNorm(size, bias=False)
        self.attention_norm, self.ffn_norm = norm(shape.n_embd), norm(shape.n_embd)
        self.attention = Attention(shape)
        self.ffn = SwigluFfn(shape) if llama else StandardFfn(shape)

    def forward(self, x, tables):
        x = x + self.attention(self.attention_norm(x), tables)
        return x + self.ffn(self.ffn_norm(x))


class LanguageModel(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.tokens = nn.Embedding(shape.vocab_size, shape.n_embd)
        self.positions = nn.Embedding(shape.block_size, shape.n_embd) if shape.preset == "gpt2" else None
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.norm = nn.RMSNorm(shape.n_embd) if shape.preset == "llama" else nn.LayerNorm(shape.n_embd, bias=False)
        self.head = nn.Linear(shape.n_embd, shape.vocab_size, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * shape.n_layer) if residual else 0.02)
        if shape.tied:
            self.head.weight = self.tokens.weight
        if shape.preset == "llama":
            cos, sin = rotary_tables(shape.block_size, shape.n_embd // shape.n_head)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def forward(self, inputs, targets):
        length = inputs.shape[1]
        x = self.tokens(inputs)
        tables = None
        if self.positions is not None:
            x = x + self.positions.weight[:length]
        else:
            tables = (self.cos[:length], self.sin[:length])
        for block in self.blocks:
            x = block(x, tables)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def adamw(model, learning_rate, beta2=0.95):
    """Weight decay on matrices only, the fused update where this PyTorch has one for the CPU."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, beta2), fused=True)


def train_step(model, optimizer, inputs, targets, grad_clip=1.0):
    optimizer.zero_grad(set_to_none=True)
    loss = model(inputs, targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss

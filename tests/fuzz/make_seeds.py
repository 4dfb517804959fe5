#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets: make_seeds.py FOLDER makes FOLDER/<target>/.

A seed is small and valid, so that the fuzzer begins behind the first checks of a reader.
"""
import json
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def safetensors(tensors: dict, data: bytes, metadata: dict | None = None) -> bytes:
    header = dict(tensors)
    if metadata is not None:
        header["__metadata__"] = metadata
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def shard(tokens: list[int], width: int, vocabulary: int) -> bytes:
    """Ours, with checksums that the target makes right; the first byte asks for that."""
    packed = struct.pack(f"<{len(tokens)}{'H' if width == 2 else 'I'}", *tokens)
    head = b"ISOFLOPT" + struct.pack("<IIQQQII", 1, width, len(tokens), vocabulary, 7, 0, 65536) + bytes(16)
    return b"\1" + head + packed + bytes(4)


def llmc(magic: int, version: int, tokens: list[int], form: str) -> bytes:
    return b"\0" + struct.pack("<256i", magic, version, len(tokens), *[0] * 253) + struct.pack(
        f"<{len(tokens)}{form}", *tokens)


def manifest(tensors: list, files: list) -> bytes:
    """Without its last line, which the target adds."""
    text = json.dumps({"format": "isoflop checkpoint", "format_version": 1, "step": 3, "val_loss": 1.5,
                       "files": files, "tensors": tensors}, indent=2)
    return text[:-len("\n}")].encode()


def frame(kind: int, number: int, key: bytes, value: bytes) -> bytes:
    return b"IFS1" + struct.pack(">BxxxqII", kind, number, len(key), len(value)) + key + value


def run_log_lines() -> bytes:
    lines = [{"type": "header", "run_name": "a", "version": "0.1.0", "start_time": "2025-01-01T00:00:00",
              "config": {"arch_preset": "llama", "normalization": "rmsnorm"}, "metadata": {"world_size": 1}},
             {"type": "iteration", "iter": 0, "loss": 5.5, "time_ms": 10.5, "mfu": None},
             {"type": "iteration", "iter": 1, "loss": 5.25, "time_ms": 9.5, "skipped": True,
              "mfu": {"mfu": 0.4, "mfu_percent": 40.0, "flop_convention": "exact"},
              "memory": {"max_allocated_gb": 1.5}},
             {"type": "eval", "iter": 1, "train_loss": 5.0, "val_loss": 5.1},
             {"type": "checkpoint", "iter": 1, "val_loss": 5.1, "path": "checkpoints/step_00000001"},
             {"type": "resume", "iter": 2, "timestamp": "2025-01-01T00:00:01"},
             {"type": "end", "state": "finished", "end_time": "2025-01-01T00:00:02"}]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()


def run_document() -> bytes:
    return json.dumps({"run_name": "b", "config": {"arch_preset": "gpt2", "attention_backend": "sdpa"},
                       "training_iterations": [{"iter": 0, "loss": 4.0, "time_ms": 5.0, "mfu": -100.0},
                                               {"iter": 5, "loss": 3.0, "time_ms": 4.0, "mfu": {"mfu_percent": 30}}],
                       "eval_steps": [{"iter": 5, "val_loss": 3.5}], "checkpoints": [], "end_time": "x",
                       "summary": {"best_val_loss": 3.5, "avg_time_ms": 4.5, "avg_mfu": 30.0}}).encode()


def llama() -> dict:
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "intermediate_size": 24,
            "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 32,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
            "bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": None, "tie_word_embeddings": False,
            "torch_dtype": "float32"}


def seeds() -> dict[str, list[bytes]]:
    scaled = llama() | {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}
    yarn = llama() | {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}
    gpt2 = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 32, "vocab_size": 32}
    models = [json.dumps(model).encode() for model in (llama(), scaled, yarn, gpt2)]
    weight = {"name": "w", "dtype": "F32", "shape": [2],
              "slices": [{"file": "model.safetensors", "first": 0, "count": 2}]}
    state = {"name": "trainer_state.json", "bytes": 10, "crc32c": "00000000"}
    return {
        "safetensors": [
            safetensors({}, b""),
            safetensors({"a": entry("F32", [2], 0, 8), "b": entry("BF16", [1, 2], 8, 12)}, bytes(12), {"format": "pt"}),
            safetensors({"a": entry("F64", [], 0, 8), "b": entry("F16", [0], 8, 8), "c": entry("I64", [1], 8, 16)},
                        bytes(16))],
        "checkpoint": [manifest([], []), manifest([weight], []), manifest([weight], [state])],
        "token_file": [shard([1, 2, 3, 4], 2, 10), shard([1, 70000], 4, 80000), b"\0" + struct.pack("<8H", *range(8)),
                       llmc(20240520, 1, [1, 2, 3], "H"), llmc(20240801, 7, [1, 70000], "I"),
                       b"\0" + struct.pack("<8I", *range(8))],
        "tokenizer": [b'\0{"type":"byte"}', b'\0{"type":"char","symbols":["\\n","a","\xc3\xa9"],"end_of_text":true}',
                      b'\0{"type":"sentencepiece","vocab_size":300}', b"\1" + models[0],
                      b'\1{"tokenizer_class":"LlamaTokenizer","add_bos_token":true,"eos_token_id":2,"bos_token_id":1}'],
        "store_message": [b"\0" + frame(1, 2, b"host", b"4") + frame(2, 0, b"key", b"value"),
                          b"\7" + frame(3, 1000, b"key", b"") + frame(4, -1, b"sum", b"") + frame(6, 5, b"", b"v")],
        "run_log": [b"\0" + run_log_lines(), b"\1" + run_document()],
        "hugging_face": models,
        # Every configuration and every malformed file of the tests.
        "config_reader": [file.read_bytes() for folder in ("configs", "tests/config")
                          for file in sorted((ROOT / folder).rglob("*.json*"))],
    }


def main() -> None:
    for target, texts in seeds().items():
        folder = pathlib.Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, text in enumerate(texts):
            (folder / f"seed_{number:03}").write_bytes(text)


if __name__ == "__main__":
    main()

"""Random sizes for the cases of generate_class_cases.py.

Keys are left out at random, so that the defaults of the class are tested too. `Choices.default` reads
those defaults, because a key that is left out decides what fits beside it.
"""

import random

from transformers import AutoConfig


class Choices:
    def __init__(self, model_type, number):
        self.random = random.Random(f"{model_type} {number}")
        self.defaults = AutoConfig.for_model(model_type)
        self.layers = 0

    def default(self, key):
        return getattr(self.defaults, key)

    def between(self, low, high):
        return self.random.randint(low, high)

    def one_of(self, *values):
        return self.random.choice(values)

    def flag(self, probability=0.5):
        return self.random.random() < probability

    def maybe(self, keys, probability=0.5, **more):
        """Adds the keys with this probability; else the class decides."""
        if self.flag(probability):
            keys.update(more)

    def flags(self, keys, *names):
        """Each flag: left out, true or false."""
        for name in names:
            self.maybe(keys, 0.6, **{name: self.flag()})

    def kinds(self, *values):
        """One value per layer."""
        return [self.one_of(*values) for _ in range(self.layers)]

    def some_layers(self):
        return sorted(self.random.sample(range(self.layers), self.between(0, self.layers)))


DERIVED = "derived"  # no key head_dim: hidden_size / num_attention_heads
OPTIONAL = "optional"  # the same where there is no key, but a file may have one
NEEDED = "needed"  # the class cannot be built without


def sizes(pick, head_dim=OPTIONAL, kv_heads=None, divisible=False, low=1):
    """The keys that most classes have.

    head_dim: the default of the class; None where null lets the class divide; or a word from above.
    kv_heads: the default of the class; None where it is the number of heads.
    divisible: the class wants a hidden size that is a multiple of the number of heads.
    """
    groups = pick.one_of(1, 2, 3, 4)
    heads = groups * pick.one_of(1, 2, 3, 5)
    width = 2 * pick.between(2, 9)
    keys = {"vocab_size": pick.between(30, 400),
            "intermediate_size": pick.between(20, 300),
            "num_hidden_layers": pick.between(low, 7),
            "num_attention_heads": heads,
            "max_position_embeddings": pick.between(16, 200)}
    if pick.flag(0.25):
        heads = keys["num_attention_heads"] = (kv_heads or 1) * pick.between(1, 3)
    else:
        keys["num_key_value_heads"] = groups
    choose_width(pick, keys, head_dim, width, divisible)
    pick.maybe(keys, tie_word_embeddings=pick.flag())
    for key in ("vocab_size", "intermediate_size", "num_hidden_layers"):
        if pick.flag(0.06):
            del keys[key]
    if pick.flag(0.2):
        keys["rope_theta"] = 20000.0
    pick.layers = keys.get("num_hidden_layers") or pick.default("num_hidden_layers")
    pad_within_vocabulary(pick, keys)
    return keys


def pad_within_vocabulary(pick, keys):
    """Embeddings refuse a padding token beyond the vocabulary."""
    if (pick.default("pad_token_id") or 0) >= keys.get("vocab_size", 10**9):
        keys["pad_token_id"] = 0


def choose_width(pick, keys, head_dim, width, divisible):
    heads = keys["num_attention_heads"]
    chance = {DERIVED: 0.0, OPTIONAL: 0.25, None: 0.4}.get(head_dim, 0.6)
    if head_dim == NEEDED or pick.flag(chance):
        keys["hidden_size"] = heads * pick.between(3, 30) if divisible else pick.between(10, 130)
        keys["head_dim"] = width
        return
    keys["hidden_size"] = heads * width
    if head_dim is None and pick.flag(0.3):
        keys["head_dim"] = None


def window(pick, keys):
    pick.maybe(keys, sliding_window=pick.between(4, 64))


def layer_types(pick, keys, *kinds):
    """A list of its own for some cases; else the pattern of the class."""
    pick.maybe(keys, 0.4, layer_types=pick.kinds(*kinds))


def routed(pick, keys, experts="num_experts", top_k="num_experts_per_tok", width=None):
    keys[experts] = pick.between(2, 9)
    pick.maybe(keys, 0.8, **{top_k: pick.between(1, min(4, keys[experts]))})
    if (keys.get(top_k, pick.default(top_k)) or keys[experts] + 1) > keys[experts]:
        keys[top_k] = keys[experts]
    if width:
        pick.maybe(keys, 0.9, **{width: pick.between(5, 60)})

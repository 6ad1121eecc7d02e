"""``python -m zoo``: the table of all models, at full size with 60 classes."""

import os
import sys


def main():
    """Prints the table."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow did not find on this machine
    import zoo

    print(f"{'model':14} {'parameters':>10} {'GMACs':>8} {'activations':>12}  inputs")
    for name in zoo.list_models():
        known = zoo.describe(name)
        inputs = ", ".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in known["inputs"].items())
        print(
            f"{name:14} {known['parameters'] / 1e6:8.3f} M {known['gmacs']:8.2f} "
            f"{known['activation_bytes'] / 2**20:8.0f} MiB  {inputs}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m zoo``: the table of all models, at full size with 60 classes."""

import sys

from zoo.shared import command_line


def main() -> int:
    """Prints the table."""
    command_line.quiet_tensorflow()
    import zoo

    print("parameters in millions for 60 classes: in all, without the classifier, in inference")
    print(f"{'model':14} {'all':>7} {'no head':>7} {'infer':>7} {'GMACs':>7} {'activations':>11}  inputs")
    for name in zoo.list_models():
        known = zoo.describe(name)
        inputs = ", ".join(f"{key} {'x'.join(map(str, shape))}" for key, shape in known["inputs"].items())
        print(
            f"{name:14} {known['parameters'] / 1e6:7.3f} {known['parameters_without_head'] / 1e6:7.3f} "
            f"{known['parameters_in_inference'] / 1e6:7.3f} {known['gmacs']:7.2f} "
            f"{known['activation_bytes'] / 2**20:7.0f} MiB  {inputs}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One module per dataset: what it contains, how its clips are named, and how its original download is read."""

import importlib

# Dataset -> (module, class). Two datasets that differ in little but their clips share a module.
_SOURCES = {
    "ntu60": ("ntu", "NTU60"),
    "ntu120": ("ntu", "NTU120"),
    "smarthome": ("smarthome", "Smarthome"),
    "nucla": ("nucla", "NUCLA"),
    "cad60": ("cad", "CAD60"),
    "cad120": ("cad", "CAD120"),
    "msr_daily": ("msr_daily", "MSRDaily"),
    "sbu": ("sbu", "SBU"),
    "folder": ("folder", "Folder"),
    "synthetic": ("synthetic", "SynthADL"),
}
NAMES = tuple(_SOURCES)


def get(name):
    """The :class:`~tfrecords.datasets.base.Source` class of a dataset.

    Args:
        name: One of :data:`NAMES`.

    Returns:
        The class.
    """
    module, source = _SOURCES[name]
    return getattr(importlib.import_module(f"tfrecords.datasets.{module}"), source)

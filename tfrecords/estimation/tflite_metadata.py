"""Metadata of a TensorFlow Lite network: which range of values its input pictures have.

Only some versions of MediaPipe have their own writer of metadata, and it leaves weights unaligned.
"""

from __future__ import annotations

_NAME = "TFLITE_METADATA"
_ALIGNMENT = 64  # bytes


def with_normalisation(network: bytes, mean: float, deviation: float) -> bytes:
    """Adds metadata: the input is an RGB picture of values 0 - 255, normalised by ``(value - mean) / deviation``.

    The bytes of the network stay as they are, behind a new root table that refers to them and to the metadata, because
    references in a FlatBuffer only point forwards.

    Args:
        network: A TensorFlow Lite file.
        mean: Number that is subtracted from the values of a picture.
        deviation: Number by which the differences are divided.

    Returns:
        The file with the metadata, which replace earlier ones of the same kind.
    """
    import flatbuffers
    from mediapipe.tasks.metadata import schema_py_generated as schema

    model = schema.Model.GetRootAs(network)
    table = model._tab
    size = len(network) + -len(network) % _ALIGNMENT
    builder = flatbuffers.Builder(2 * size)  # it writes from the end to the beginning
    builder.Prep(_ALIGNMENT, 0)
    builder.head -= size
    builder.Bytes[builder.head : builder.head + len(network)] = network

    def field(number: int) -> int:
        """Position of a field of the root table, counted from the end as the builder does; 0 without the field."""
        offset = table.Offset(4 + 2 * number)
        return size - table.Indirect(table.Pos + offset) if offset else 0

    def elements(number: int) -> list[int]:
        """Positions of the elements of a vector in the root table."""
        offset = table.Offset(4 + 2 * number)
        if not offset:
            return []
        begin = table.Vector(offset)
        return [size - table.Indirect(begin + 4 * i) for i in range(table.VectorLen(offset))]

    def vector(positions: list[int]) -> int:
        builder.StartVector(4, len(positions), 4)
        for position in reversed(positions):
            builder.PrependUOffsetTRelative(position)
        return builder.EndVector()

    data = builder.CreateByteVector(_metadata(mean, deviation))
    schema.BufferStart(builder)
    schema.BufferAddData(builder, data)
    buffers = [*elements(4), schema.BufferEnd(builder)]
    name = builder.CreateString(_NAME)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, name)
    schema.MetadataAddBuffer(builder, len(buffers) - 1)
    added = schema.MetadataEnd(builder)
    kept = [position for i, position in enumerate(elements(6)) if model.Metadata(i).Name() != _NAME.encode()]
    buffers_vector = vector(buffers)
    metadata_vector = vector([*kept, added])
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, model.Version())
    schema.ModelAddOperatorCodes(builder, field(1))
    schema.ModelAddSubgraphs(builder, field(2))
    schema.ModelAddDescription(builder, field(3))
    schema.ModelAddBuffers(builder, buffers_vector)
    schema.ModelAddMetadata(builder, metadata_vector)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _metadata(mean: float, deviation: float) -> bytes:
    """The metadata alone, as a separate FlatBuffer."""
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    options = schema.NormalizationOptionsT()
    options.mean, options.std = [mean], [deviation]
    unit = schema.ProcessUnitT()
    unit.optionsType, unit.options = schema.ProcessUnitOptions.NormalizationOptions, options
    properties = schema.ImagePropertiesT()
    properties.colorSpace = schema.ColorSpaceType.RGB
    content = schema.ContentT()
    content.contentPropertiesType, content.contentProperties = schema.ContentProperties.ImageProperties, properties
    picture = schema.TensorMetadataT()
    picture.name, picture.content, picture.processUnits = "image", content, [unit]
    subgraph = schema.SubGraphMetadataT()
    subgraph.inputTensorMetadata = [picture]
    metadata = schema.ModelMetadataT()
    metadata.subgraphMetadata = [subgraph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(metadata.Pack(builder), file_identifier=b"M001")
    return bytes(builder.Output())
